/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What kind of frame it is, where that matters. Twin of oxbond-core's `route` module; a test runs both. */
#pragma once

#include "hash.h"

#define TYPE_SLOW_PROTOCOLS 0x8809

#define PROTO_IGMP 2

#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_SOLICITED 0x40
#define ND_HEADER_LEN 24
#define ND_TARGET_ADDRESS 2
/* More options than an advertisement has. */
#define ND_OPTIONS 4

#define ARP_LEN 28
#define MAC_LEN 6

struct view {
	/* CLASS_ */
	__u32 class;
	/* Offset of what lies behind the Ethernet header and the VLAN tags in the frame. */
	__u32 at;
	/* XOR of all bytes of the destination address in IPv4 or IPv6, else 0. */
	__u32 destination;
};

/* Two bytes as they lie in the frame, and a number as it would lie there. */
INLINE __u32 half(const __u8 *bytes)
{
	return *(const __u16 *)bytes;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define WIRE(number) ((__u16)((number) << 8 | (number) >> 8))
#else
#define WIRE(number) ((__u16)(number))
#endif

INLINE __u32 xor_bytes(__u32 word)
{
	word ^= word >> 16;
	return (word ^ word >> 8) & 0xff;
}

INLINE int same_mac(const __u8 *one, const __u8 *other)
{
	return word(one) == word(other) && *(const __u16 *)(one + 4) == *(const __u16 *)(other + 4);
}

INLINE int is_vlan(__u32 type)
{
	return type == WIRE(TYPE_VLAN) || type == WIRE(TYPE_SERVICE_VLAN);
}

/* What the IP headers say of a frame without a tag in it. */
INLINE void view_ip(struct frame *frame, __u32 type, struct view *view)
{
	const __u8 *ip = frame->data + ETHERNET_LEN;

	if (type == WIRE(TYPE_IPV4)) {
		if (!THERE(frame, ETHERNET_LEN, IPV4_LEN))
			return;
		if (ip[9] == PROTO_IGMP)
			view->class |= CLASS_IGMP;
		if (word(ip + 16) == 0xffffffff)
			view->class |= CLASS_LIMITED;
		view->destination = xor_bytes(word(ip + 16));
	} else if (type == WIRE(TYPE_IPV6)) {
		__u32 head;

		if (!THERE(frame, ETHERNET_LEN, IPV6_LEN))
			return;
		if (!(word(ip + 8) | word(ip + 12) | word(ip + 16) | word(ip + 20)))
			view->class |= CLASS_UNSPECIFIED;
		head = word(ip + 24);
		if (half(ip + 24) == WIRE(0xff02) && half(ip + 26) == 0 && !(word(ip + 28) | word(ip + 32)) &&
		    half(ip + 36) == 0 && half(ip + 38) == WIRE(1))
			view->class |= CLASS_ALL_NODES;
		view->destination = xor_bytes(head ^ word(ip + 28) ^ word(ip + 32) ^ word(ip + 36));
	} else {
		view->class |= CLASS_NOT_IP;
	}
}

INLINE void view_linear(struct frame *frame, struct view *view)
{
	const __u8 *data = frame->data;
	__u32 type;

	view->class = CLASS_NOT_IP;
	view->at = ETHERNET_LEN;
	view->destination = 0;
	if (data + ETHERNET_LEN > frame->end)
		return;
	view->class = data[0] & 1 ? CLASS_GROUP : 0;
	type = half(data + 12);
	view_ip(frame, type, view);
	if (is_vlan(type) && THERE(frame, ETHERNET_LEN, 4)) {
		type = half(data + ETHERNET_LEN + 2);
		view->at = ETHERNET_LEN + 4;
		if (is_vlan(type) && THERE(frame, ETHERNET_LEN + 4, 4)) {
			type = half(data + ETHERNET_LEN + 6);
			view->at = ETHERNET_LEN + 8;
		}
	}
	if (type == WIRE(TYPE_ARP)) {
		view->class |= CLASS_ARP;
	} else if (type == WIRE(TYPE_IPV6)) {
		__u32 at = view->at;

		if (THERE(frame, at, IPV6_LEN + 1) && data[at + 6] == PROTO_ICMPV6 &&
		    (data[at + IPV6_LEN] == ND_SOLICITATION || data[at + IPV6_LEN] == ND_ADVERTISEMENT))
			view->class |= CLASS_ND;
	}
}

/* Brings in the headers, wherever they lie. */
APART int look(struct __sk_buff *skb, struct view *view)
{
	struct frame frame;

	if (!view)
		return 0;
	linear_part(skb, &frame);
	view_linear(&frame, view);
	if (unlikely(frame.hidden)) {
		bpf_skb_pull_data(skb, skb->len < HASH_DEPTH ? skb->len : HASH_DEPTH);
		linear_part(skb, &frame);
		view_linear(&frame, view);
	}
	return 0;
}

/* The same for what most frames are, IP from one station to another that is not ICMPv6, at a fraction of the price. 0
 * when it is not clear at a glance that the frame is in no class; then `look` tells. */
INLINE int glance(const struct __sk_buff *skb, struct view *view)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;
	const __u8 *ip = data + ETHERNET_LEN;
	__u32 type;

	if (ip + IPV6_LEN > end || (data[0] & 1))
		return 0;
	type = half(data + 12);
	if (type == WIRE(TYPE_IPV4)) {
		if (ip[9] == PROTO_IGMP || word(ip + 16) == 0xffffffff)
			return 0;
		view->destination = xor_bytes(word(ip + 16));
		return 1;
	}
	if (type != WIRE(TYPE_IPV6) || ip[6] == PROTO_ICMPV6 || ip[24] == 0xff || !word(ip + 8))
		return 0;
	view->destination = xor_bytes(word(ip + 24) ^ word(ip + 28) ^ word(ip + 32) ^ word(ip + 36));
	return 1;
}
