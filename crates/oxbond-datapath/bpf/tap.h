/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Copies of frames for the daemon. */
#pragma once

#include "class.h"
#include "maps.h"

/* Length of a VLAN tag, and of what stands before it. */
#define TAG_LEN 4
#define ADDRESSES_LEN 12

/* Copies a frame. When the buffer is full the daemon is far behind, and the frame is as lost as on a wire. */
APART int tap(struct __sk_buff *skb, __u32 port)
{
	__u32 len = skb->len;
	struct tapped *tapped;

	if (len < ETHERNET_LEN)
		return 0;
	tapped = bpf_ringbuf_reserve(&tapped_frames, sizeof(*tapped), 0);
	if (!tapped)
		return 0;
	tapped->time_ns = bpf_ktime_get_ns();
	tapped->port = port;
	if (skb->vlan_present) {
		__u32 type = skb->vlan_proto, tci = skb->vlan_tci;
		__u8 *tag = tapped->frame + ADDRESSES_LEN;

		if (bpf_skb_load_bytes(skb, 0, tapped->frame, ADDRESSES_LEN))
			goto discard;
		*(__u16 *)tag = type;
		tag[2] = tci >> 8;
		tag[3] = tci;
		len -= ADDRESSES_LEN;
		OPAQUE(len);
		/* Never; but 6.1 learns nothing from a comparison with 0. */
		if (len < 2)
			goto discard;
		if (len > TAPPED_LEN - ADDRESSES_LEN - TAG_LEN)
			len = TAPPED_LEN - ADDRESSES_LEN - TAG_LEN;
		if (bpf_skb_load_bytes(skb, ADDRESSES_LEN, tag + TAG_LEN, len))
			goto discard;
		len += ADDRESSES_LEN + TAG_LEN;
	} else {
		OPAQUE(len);
		if (len < ETHERNET_LEN)
			goto discard;
		if (len > TAPPED_LEN)
			len = TAPPED_LEN;
		if (bpf_skb_load_bytes(skb, 0, tapped->frame, len))
			goto discard;
	}
	tapped->len = len;
	bpf_ringbuf_submit(tapped, 0);
	return 0;
discard:
	bpf_ringbuf_discard(tapped, 0);
	return 0;
}
