/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The transmit hash. Twin of oxbond-core's `hash` module, where the rules stand (E, A, P, fold); a test runs both. */
#pragma once

#include "abi.h"

#define ETHERNET_LEN 14
#define IPV4_LEN 20
#define IPV6_LEN 40
#define ICMP_LEN 8
/* As far as a hash can look: an ICMP error quoting AH behind the longest IPv4 headers. */
#define HASH_DEPTH (ETHERNET_LEN + 60 + ICMP_LEN + 60 + 8)

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_DCCP 33
#define PROTO_ESP 50
#define PROTO_AH 51
#define PROTO_ICMPV6 58
#define PROTO_SCTP 132
#define PROTO_UDPLITE 136
/* An IPv4 fragment has no ports. Not a protocol number. */
#define PROTO_NONE 256

/* The bytes of a frame that a program may touch directly. */
struct frame {
	const __u8 *data;
	const __u8 *end;
	/* Length with what lies outside `data`..`end`. */
	__u32 len;
	/* Set when something was looked for that the frame has, but not in its linear part. */
	__u32 hidden;
};

struct flow {
	__u32 addresses;
	__u32 ports;
};

struct ip_header {
	__u32 addresses;
	__u32 protocol;
	/* Offset of the payload in the frame. */
	__u32 payload;
};

/* Whether `size` bytes are there at `offset`. A macro, so that the verifier sees the comparison beside the use. */
#define THERE(frame, offset, size)                                                                                  \
	((frame)->data + (offset) + (size) <= (frame)->end ? 1 :                                                   \
	 ((offset) + (size) <= (frame)->len ? ((frame)->hidden = 1, 0) : 0))

INLINE __u32 word(const __u8 *bytes)
{
	return *(const __u32 *)bytes;
}

INLINE int ip_header(struct frame *frame, __u32 at, int v6, struct ip_header *out)
{
	const __u8 *ip = frame->data + at;

	if (v6) {
		if (!THERE(frame, at, IPV6_LEN))
			return 0;
		out->addresses = word(ip + 8) ^ word(ip + 12) ^ word(ip + 16) ^ word(ip + 20) ^ word(ip + 24) ^
				 word(ip + 28) ^ word(ip + 32) ^ word(ip + 36);
		out->protocol = ip[6];
		out->payload = at + IPV6_LEN;
	} else {
		if (!THERE(frame, at, IPV4_LEN))
			return 0;
		out->addresses = word(ip + 12) ^ word(ip + 16);
		out->protocol = (ip[6] & 0x3f) | ip[7] ? PROTO_NONE : ip[9];
		out->payload = at + 4 * (ip[0] & 15);
	}
	return 1;
}

INLINE __u32 ports_of(struct frame *frame, const struct ip_header *ip)
{
	__u32 at = ip->payload;

	switch (ip->protocol) {
	case PROTO_TCP:
	case PROTO_UDP:
	case PROTO_DCCP:
	case PROTO_ESP:
	case PROTO_SCTP:
	case PROTO_UDPLITE:
		break;
	case PROTO_AH:
		at += 4;
		break;
	default:
		return 0;
	}
	return THERE(frame, at, 4) ? word(frame->data + at) : 0;
}

/* A and P of an IP frame; 0 when it is none. */
INLINE int flow_of(struct frame *frame, struct flow *out)
{
	__u32 ethertype = frame->data[12] << 8 | frame->data[13];
	int v6 = ethertype == 0x86dd;
	struct ip_header ip;
	const __u8 *icmp;

	if ((!v6 && ethertype != 0x0800) || !ip_header(frame, ETHERNET_LEN, v6, &ip))
		return 0;
	out->addresses = ip.addresses;
	out->ports = 0;
	if (likely(ip.protocol != (v6 ? PROTO_ICMPV6 : PROTO_ICMP))) {
		out->ports = ports_of(frame, &ip);
		return 1;
	}

	icmp = frame->data + ip.payload;
	if (!THERE(frame, ip.payload, ICMP_LEN))
		return 1;
	if (v6 ? icmp[0] == 128 || icmp[0] == 129 :
		 icmp[0] == 0 || icmp[0] == 8 || icmp[0] == 13 || icmp[0] == 14) {
		__u32 id = icmp[4] << 8 | icmp[5];

		out->ports = icmp[0] | icmp[1] << 8 | (id ?: 1) << 16;
	} else if (v6 ? icmp[0] >= 1 && icmp[0] <= 4 :
			(icmp[0] >= 3 && icmp[0] <= 5) || icmp[0] == 11 || icmp[0] == 12) {
		if (!ip_header(frame, ip.payload + ICMP_LEN, v6, &ip))
			return 0;
		out->addresses = ip.addresses;
		out->ports = ports_of(frame, &ip);
	}
	return 1;
}

INLINE __u32 fold(__u32 hash, __u32 addresses)
{
	hash ^= addresses;
	hash ^= hash >> 16;
	return hash ^ hash >> 8;
}

INLINE __u32 hash_of(struct frame *frame, __u32 policy)
{
	const __u8 *data = frame->data;
	struct flow flow;
	__u32 ethernet;

	if (data + ETHERNET_LEN > frame->end)
		return 0;
	ethernet = data[5] ^ data[11] ^ (data[12] << 8 | data[13]);
	if (policy == POLICY_LAYER2 || !flow_of(frame, &flow))
		return ethernet;
	if (policy == POLICY_LAYER23)
		return fold(ethernet, flow.addresses);
	return fold(flow.ports, flow.addresses) >> 1;
}

INLINE void linear_part(const struct __sk_buff *skb, struct frame *frame)
{
	frame->data = (const void *)(long)skb->data;
	frame->end = (const void *)(long)skb->data_end;
	frame->len = skb->len;
	frame->hidden = 0;
}

/* For a frame whose headers lie outside its linear part: brings them in and starts again. */
NOINLINE __u32 pull_and_hash(struct __sk_buff *skb, __u32 policy)
{
	struct frame frame;

	bpf_skb_pull_data(skb, skb->len < HASH_DEPTH ? skb->len : HASH_DEPTH);
	linear_part(skb, &frame);
	return hash_of(&frame, policy);
}

INLINE __u32 frame_hash(struct __sk_buff *skb, __u32 policy)
{
	struct frame frame;
	__u32 hash;

	linear_part(skb, &frame);
	hash = hash_of(&frame, policy);
	if (unlikely(frame.hidden))
		return pull_and_hash(skb, policy);
	return hash;
}
