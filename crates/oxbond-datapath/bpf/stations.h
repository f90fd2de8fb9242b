/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Link-layer addresses of ports that have one each. Twin of oxbond-core's `route` module; a test runs both. */
#pragma once

#include "class.h"
#include "decide.h"
#include "maps.h"

/* A message of the host that tells one client where we are. */
struct answer {
	/* XOR of all bytes of the client's IP address. */
	__u32 client;
	/* Offset of the link-layer address that the message carries. */
	__u32 mac_at;
	/* Offset of the checksum that covers it; 0: none does. */
	__u32 checksum_at;
};

/* Whether the frame is an ARP reply to a station, or a solicited neighbour advertisement, that carries the bond's own
 * address. What a guest behind a bridge says of itself is none of ours. */
APART int is_answer(struct __sk_buff *skb, const struct table *table, const struct view *view, struct answer *answer)
{
	/* Accessed in words, so the addresses in it must lie where words may. */
	__u8 bytes[ARP_LEN + 4] __attribute__((aligned(8)));
	__u32 at;

	if (!table || !view || !answer || (view->class & CLASS_GROUP))
		return 0;
	at = view->at;
	if (view->class & CLASS_ARP) {
		if (bpf_skb_load_bytes(skb, at, bytes, ARP_LEN) || half(bytes) != WIRE(1) || half(bytes + 2) != WIRE(TYPE_IPV4) ||
		    bytes[4] != MAC_LEN || bytes[5] != 4 || half(bytes + 6) != WIRE(2) || !same_mac(bytes + 8, table->bond))
			return 0;
		answer->client = xor_bytes(word(bytes + 24));
		answer->mac_at = at + 8;
		answer->checksum_at = 0;
		return 1;
	}
	at += IPV6_LEN;
	if (bpf_skb_load_bytes(skb, at - 16, bytes, 24) || bytes[16] != ND_ADVERTISEMENT || !(bytes[20] & ND_SOLICITED))
		return 0;
	answer->client = xor_bytes(word(bytes) ^ word(bytes + 4) ^ word(bytes + 8) ^ word(bytes + 12));
	answer->checksum_at = at + 2;
	at += ND_HEADER_LEN;
	for (int i = 0; i < ND_OPTIONS; i++) {
		const __u8 *option = bytes + 6;

		if (bpf_skb_load_bytes(skb, at, bytes + 6, 8) || !option[1])
			return 0;
		if (option[0] == ND_TARGET_ADDRESS) {
			answer->mac_at = at + 2;
			return option[1] == 1 && same_mac(bytes + 8, table->bond);
		}
		at += 8 * option[1];
	}
	return 0;
}

/* Puts a port's address in place of the bond's in the message. */
APART int answer_from(struct __sk_buff *skb, const struct table *table, const struct answer *answer, __u32 id)
{
	const __u8 *station;
	__u32 checksum_at;

	if (!table || !answer)
		return 0;
	station = table->stations[id & 31];
	checksum_at = answer->checksum_at;
	if (!checksum_at)
		return bpf_skb_store_bytes(skb, answer->mac_at, station, MAC_LEN, BPF_F_RECOMPUTE_CSUM);
	bpf_l4_csum_replace(skb, checksum_at, 0, bpf_csum_diff((void *)table->bond, 8, (void *)station, 8, 0), 0);
	return bpf_skb_store_bytes(skb, answer->mac_at, station, MAC_LEN, 0);
}

#define WHOSE_NOBODYS 0
#define WHOSE_OWN 1
#define WHOSE_ANOTHERS 2

/* Which port a frame to one station came for, seen from the port it arrived on: that one, another one that lives, or none
 * (it is for the bond's own address, for a port that is dead, or for somebody behind a bridge). */
APART int whose(struct __sk_buff *skb, const struct table *table, __u32 id)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;

	if (!table || data + ETHERNET_LEN > end || (data[0] & 1))
		return WHOSE_NOBODYS;
	for (__u32 i = 0; i < MAX_PORTS && i < table->order_len; i++) {
		__u32 other = table->order[i] & 31;

		if (!(table->foreign & (1U << other)) || !same_mac(data, table->stations[other]))
			continue;
		if (other == id)
			return WHOSE_OWN;
		return has_carrier(other) ? WHOSE_ANOTHERS : WHOSE_NOBODYS;
	}
	return WHOSE_NOBODYS;
}

/* A frame that arrives for the address of a port is the bond's. Of any port: when one has died, a switch sends what is for
 * it to all others, until the neighbours have learnt another address. */
APART int take_for_bond(struct __sk_buff *skb, const struct table *table)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;

	if (!table || data + ETHERNET_LEN > end || same_mac(data, table->bond))
		return 0;
	for (__u32 i = 0; i < MAX_PORTS && i < table->order_len; i++) {
		__u32 id = table->order[i] & 31;

		if ((table->foreign & (1U << id)) && same_mac(data, table->stations[id]))
			return bpf_skb_store_bytes(skb, 0, table->bond, MAC_LEN, 0);
	}
	return 0;
}
