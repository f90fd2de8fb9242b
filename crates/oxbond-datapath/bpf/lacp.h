/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The standing answer: a partner's LACPDU answered in the daemon's place. What is answered and why is said in
 * oxbond-core's `standing` module. */
#pragma once

#include "class.h"
#include "maps.h"

/* Offsets in the frame of a LACPDU: subtype, then TLVs of the actor and of the partner, each with its length, who it
 * is (system priority, system, key, port priority, port) and its flags. */
#define LACP_AT ETHERNET_LEN
#define LACP_SUBTYPE 1
#define LACP_ACTOR (LACP_AT + 2)
#define LACP_PARTNER (LACP_AT + 22)
#define LACP_TLV_LEN 20
#define LACP_IDENTITY 2
#define LACP_IDENTITY_LEN 14
#define LACP_FLAGS 16
#define LACP_FLAG_AGGREGATION 0x04
#define LACP_FLAG_SYNC 0x08
/* As far as a received one is looked at: up to and with the partner's flags. */
#define LACP_LOOK_LEN (LACP_PARTNER + LACP_FLAGS + 1)

INLINE int same_identity(const __u8 *one, const __u8 *other)
{
	__u8 differing = 0;

	for (int i = 0; i < LACP_IDENTITY_LEN; i++)
		differing |= one[LACP_IDENTITY + i] ^ other[LACP_IDENTITY + i];
	return !differing;
}

/* Whether the partner says what the answer confirms: it is who it was, knows us as we are, and wants the link. */
INLINE int confirms(const __u8 *heard, const __u8 *ours)
{
	__u8 flags = heard[LACP_ACTOR + LACP_FLAGS];

	return heard[LACP_AT] == LACP_SUBTYPE && heard[LACP_ACTOR + 1] == LACP_TLV_LEN &&
	       heard[LACP_PARTNER + 1] == LACP_TLV_LEN && same_identity(heard + LACP_ACTOR, ours + LACP_PARTNER) &&
	       same_identity(heard + LACP_PARTNER, ours + LACP_ACTOR) && (flags & LACP_FLAG_SYNC) &&
	       !((flags ^ ours[LACP_PARTNER + LACP_FLAGS]) & LACP_FLAG_AGGREGATION);
}

/* Answers a frame of the slow protocols that has arrived on a port. 1 when the frame is the answer now and is to leave
 * on that port again, 0 when it is as it came. */
APART int stand_in(struct __sk_buff *skb, __u32 id)
{
	struct standing *standing = standing_of(id);
	struct port_counters *counters = counters_of(id);
	__u8 heard[LACP_LOOK_LEN] __attribute__((aligned(8)));
	__u64 now;

	if (!standing || !counters || !standing->from)
		return 0;
	now = bpf_ktime_get_ns();
	if (now < standing->from || now > standing->until ||
	    (standing->answered && now - standing->answered < STANDING_SPACING_NS))
		return 0;
	if (skb->len < STANDING_LEN || skb->vlan_present || bpf_skb_load_bytes(skb, 0, heard, sizeof(heard)) ||
	    !confirms(heard, standing->frame))
		return 0;
	if (skb->len != STANDING_LEN && bpf_skb_change_tail(skb, STANDING_LEN, 0))
		return 0;
	/* Should the daemon, back at this very moment, be writing the answer, then this one may have parts of both. Its own
	 * PDU follows at once. */
	if (bpf_skb_store_bytes(skb, 0, standing->frame, STANDING_LEN, 0) ||
	    bpf_skb_store_bytes(skb, LACP_PARTNER + LACP_FLAGS, heard + LACP_ACTOR + LACP_FLAGS, 1, 0))
		return 0;
	standing->answered = now;
	counters->lacp_answered++;
	return 1;
}
