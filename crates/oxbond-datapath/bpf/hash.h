/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The transmit hash. Twin of oxbond-core's `hash` module, where the rules stand (E, A, P, fold, dissection); a test runs
 * both. */
#pragma once

#include "abi.h"

#define ETHERNET_LEN 14
#define IPV4_LEN 20
#define IPV6_LEN 40
#define ICMP_LEN 8
/* As far as a hash can look: an ICMP error quoting AH behind the longest IPv4 headers. */
#define HASH_DEPTH (ETHERNET_LEN + 60 + ICMP_LEN + 60 + 8)

/* Most headers that a dissection takes: MAX_HEADERS of the core. */
#define DISSECT_HEADERS 15

#define TYPE_IPV4 0x0800
#define TYPE_ARP 0x0806
#define TYPE_RARP 0x8035
#define TYPE_ETHERNET 0x6558
#define TYPE_VLAN 0x8100
#define TYPE_IPV6 0x86dd
#define TYPE_SERVICE_VLAN 0x88a8

#define PROTO_HOP_OPTIONS 0
#define PROTO_ICMP 1
#define PROTO_IPIP 4
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_DCCP 33
#define PROTO_IPV6 41
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_GRE 47
#define PROTO_ESP 50
#define PROTO_AH 51
#define PROTO_ICMPV6 58
#define PROTO_OPTIONS 60
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

/* A, the protocol and the length of an IP header whose fixed part is there. */
INLINE __u32 ip_fields(const __u8 *ip, int v6, struct ip_header *out)
{
	if (v6) {
		out->addresses = word(ip + 8) ^ word(ip + 12) ^ word(ip + 16) ^ word(ip + 20) ^ word(ip + 24) ^
				 word(ip + 28) ^ word(ip + 32) ^ word(ip + 36);
		out->protocol = ip[6];
		return IPV6_LEN;
	}
	out->addresses = word(ip + 12) ^ word(ip + 16);
	out->protocol = (ip[6] & 0x3f) | ip[7] ? PROTO_NONE : ip[9];
	return 4 * (ip[0] & 15);
}

INLINE int ip_header(struct frame *frame, __u32 at, int v6, struct ip_header *out)
{
	if (v6 ? !THERE(frame, at, IPV6_LEN) : !THERE(frame, at, IPV4_LEN))
		return 0;
	out->payload = at + ip_fields(frame->data + at, v6, out);
	return 1;
}

/* Where in its payload a protocol has P; NO_PORTS if nowhere. */
#define NO_PORTS 0xffffffff
INLINE __u32 ports_offset(__u32 protocol)
{
	switch (protocol) {
	case PROTO_TCP:
	case PROTO_UDP:
	case PROTO_DCCP:
	case PROTO_ESP:
	case PROTO_SCTP:
	case PROTO_UDPLITE:
		return 0;
	case PROTO_AH:
		return 4;
	default:
		return NO_PORTS;
	}
}

INLINE __u32 ports_of(struct frame *frame, const struct ip_header *ip)
{
	__u32 offset = ports_offset(ip->protocol);
	__u32 at = ip->payload + offset;

	return offset != NO_PORTS && THERE(frame, at, 4) ? word(frame->data + at) : 0;
}

/* P of an ICMP message that is not an error. */
INLINE __u32 icmp_identifier(const __u8 *icmp, int v6)
{
	__u32 id = icmp[4] << 8 | icmp[5];

	if (v6 ? icmp[0] == 128 || icmp[0] == 129 :
		 icmp[0] == 0 || icmp[0] == 8 || icmp[0] == 13 || icmp[0] == 14)
		return icmp[0] | icmp[1] << 8 | (id ?: 1) << 16;
	return 0;
}

/* A and P of an IP frame; 0 when it is none. */
INLINE int flow_of(struct frame *frame, struct flow *out)
{
	__u32 ethertype = frame->data[12] << 8 | frame->data[13];
	int v6 = ethertype == TYPE_IPV6;
	struct ip_header ip;
	const __u8 *icmp;

	if ((!v6 && ethertype != TYPE_IPV4) || !ip_header(frame, ETHERNET_LEN, v6, &ip))
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
	if (v6 ? icmp[0] >= 1 && icmp[0] <= 4 :
		 (icmp[0] >= 3 && icmp[0] <= 5) || icmp[0] == 11 || icmp[0] == 12) {
		if (!ip_header(frame, ip.payload + ICMP_LEN, v6, &ip))
			return 0;
		out->addresses = ip.addresses;
		out->ports = ports_of(frame, &ip);
	} else {
		out->ports = icmp_identifier(icmp, v6);
	}
	return 1;
}

/* Frames are read directly as far as this, and by a helper, several times slower, beyond and outside the linear part. */
#define DISSECT_DIRECT 1023

/* Copies 4 * `words` bytes of the frame; 0 when they are not all there. */
INLINE int fetch(const struct __sk_buff *skb, __u64 at, __u32 *to, __u32 words)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;

	/* The compiler is not to check one register and use another: the verifier knows only of the one. */
	asm volatile("" : "+r"(at));
	if (likely(at <= DISSECT_DIRECT && data + at + 4 * words <= end)) {
		for (__u32 i = 0; i < words; i++)
			to[i] = word(data + at + 4 * i);
		return 1;
	}
	return !bpf_skb_load_bytes(skb, at, to, 4 * words);
}

/* P of a protocol that a dissection ends with. */
INLINE __u32 dissected_ports(const struct __sk_buff *skb, __u32 at, __u32 protocol, int v6)
{
	__u32 bytes[2], offset = ports_offset(protocol);

	if (protocol == (v6 ? PROTO_ICMPV6 : PROTO_ICMP))
		return fetch(skb, at, bytes, 2) ? icmp_identifier((const __u8 *)bytes, v6) : 0;
	return offset != NO_PORTS && fetch(skb, at + offset, bytes, 1) ? bytes[0] : 0;
}

/* An offset of which the verifier forgets what it knew: it does not follow what is stored at an odd half-word of the
 * stack. It would otherwise walk each of the thousands of ways to come to an offset by a chain of headers. */
struct forgotten {
	__u16 aligned;
	volatile __u16 offset;
};

/* A and P of the innermost headers; 0 when the frame cannot be dissected. */
NOINLINE int dissect(const struct __sk_buff *skb, __u32 type, struct flow *out)
{
	/* Of the next header: where it begins; whether `type` is the protocol that an IP header announced, and of which
	 * version, rather than an EtherType. */
	struct forgotten next = { .offset = ETHERNET_LEN };
	__u32 announced = 0, v6 = 0;
	__u32 header[IPV6_LEN / 4];
	const __u8 *bytes = (const __u8 *)header;
	struct ip_header ip;

	out->addresses = 0;
	out->ports = 0;
	for (__u32 count = 0; count < DISSECT_HEADERS; count++) {
		__u32 at = next.offset;

		if (announced && (type == PROTO_IPIP || type == PROTO_IPV6)) {
			type = type == PROTO_IPIP ? TYPE_IPV4 : TYPE_IPV6;
			announced = 0;
		}
		if (!announced && (type == TYPE_IPV4 || type == TYPE_IPV6)) {
			__u32 length;

			v6 = type == TYPE_IPV6;
			if (v6 ? !fetch(skb, at, header, IPV6_LEN / 4) : !fetch(skb, at, header, IPV4_LEN / 4))
				return 0;
			length = ip_fields(bytes, v6, &ip);
			if (length < IPV4_LEN)
				return 0;
			out->addresses = ip.addresses;
			if (ip.protocol == PROTO_NONE)
				return 1;
			next.offset = at + length;
			type = ip.protocol;
			announced = 1;
		} else if (!announced) {
			if (type == TYPE_ARP || type == TYPE_RARP)
				return 1;
			if ((type != TYPE_VLAN && type != TYPE_SERVICE_VLAN) || !count || !fetch(skb, at, header, 1))
				return 0;
			next.offset = at + 4;
			type = bytes[2] << 8 | bytes[3];
		} else if (v6 && (type == PROTO_HOP_OPTIONS || type == PROTO_ROUTING || type == PROTO_OPTIONS)) {
			if (!fetch(skb, at, header, 2))
				return 0;
			next.offset = at + 8 * (bytes[1] + 1);
			type = bytes[0];
		} else if (v6 && type == PROTO_FRAGMENT) {
			return fetch(skb, at, header, 2);
		} else if (type == PROTO_GRE) {
			if (!fetch(skb, at, header, 1))
				return 0;
			if (bytes[0] & 0x40 || bytes[1] & 7)
				return 1;
			next.offset = at + 4 + 4 * ((bytes[0] >> 7) + (bytes[0] >> 5 & 1) + (bytes[0] >> 4 & 1));
			type = bytes[2] << 8 | bytes[3];
			announced = 0;
			if (type == TYPE_ETHERNET) {
				at = next.offset;
				if (!fetch(skb, at + ETHERNET_LEN - 4, header, 1))
					return 0;
				next.offset = at + ETHERNET_LEN;
				type = bytes[2] << 8 | bytes[3];
			}
		} else {
			out->ports = dissected_ports(skb, at, type, v6);
			return 1;
		}
	}
	return 1;
}

INLINE __u32 fold(__u32 hash, __u32 addresses)
{
	hash ^= addresses;
	hash ^= hash >> 16;
	return hash ^ hash >> 8;
}

/* E of a frame of which ETHERNET_LEN bytes are there. */
INLINE __u32 ethernet_hash(const __u8 *data)
{
	return data[5] ^ data[11] ^ (data[12] << 8 | data[13]);
}

/* layer2, layer2+3, layer3+4. */
INLINE __u32 hash_of(struct frame *frame, __u32 policy)
{
	const __u8 *data = frame->data;
	struct flow flow;
	__u32 ethernet;

	if (data + ETHERNET_LEN > frame->end)
		return 0;
	ethernet = ethernet_hash(data);
	if (policy == POLICY_LAYER2 || !flow_of(frame, &flow))
		return ethernet;
	if (policy == POLICY_LAYER23)
		return fold(ethernet, flow.addresses);
	return fold(flow.ports, flow.addresses) >> 1;
}

/* encap2+3, encap3+4, vlan+srcmac. */
NOINLINE __u32 rarer_hash(const struct __sk_buff *skb, __u32 policy)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;
	struct flow flow;
	__u32 ethernet;

	if (data + ETHERNET_LEN > end)
		return 0;
	if (policy == POLICY_VLAN_SRCMAC)
		return (skb->vlan_present ? skb->vlan_tci : 0) ^ (data[6] << 16 | data[7] << 8 | data[8]) ^
		       (data[9] << 16 | data[10] << 8 | data[11]);
	ethernet = ethernet_hash(data);
	if (!dissect(skb, data[12] << 8 | data[13], &flow))
		return ethernet;
	if (policy == POLICY_ENCAP23)
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

	if (policy > POLICY_LAYER23)
		return rarer_hash(skb, policy);
	linear_part(skb, &frame);
	hash = hash_of(&frame, policy);
	if (unlikely(frame.hidden))
		return pull_and_hash(skb, policy);
	return hash;
}
