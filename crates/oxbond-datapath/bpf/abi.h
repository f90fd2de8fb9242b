/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the programs and the daemon share through maps. The Rust mirror is src/abi.rs; a test compares the two through
 * the `layout` section below. Change either and the version must go up: a daemon adopts only its own version. */
#pragma once

#include "bpf.h"

#define ABI_MAGIC 0x6f78626e /* "oxbn" */
#define ABI_VERSION 1

#define MAX_PORTS 32
#define MAX_BUCKETS 1024

/* How long a port used before goes on delivering: LINGER of the core. */
#define LINGER_NS 200000000

/* table.spread */
#define SPREAD_FAILOVER 0
#define SPREAD_BUCKETS 1

/* table.flags */
#define TABLE_ALL_PORTS_ACTIVE 1

/* table.policy: the numbers of xmit_hash_policy */
#define POLICY_LAYER2 0
#define POLICY_LAYER34 1
#define POLICY_LAYER23 2
#define POLICY_ENCAP23 3
#define POLICY_ENCAP34 4
#define POLICY_VLAN_SRCMAC 5

/* left_record.reason */
#define LEFT_NO_CARRIER 1
#define LEFT_DOWN 2
#define LEFT_GONE 3

/* One slot of the transmit table. */
struct table {
	__u32 spread;
	__u32 policy;
	__u32 flags;
	/* Ports in `order`; 0 drops everything. */
	__u32 order_len;
	/* Buckets in `home` and `now`. */
	__u32 bucket_len;
	/* Set of the ports in `order`. */
	__u32 members;
	/* Set of the ports that a program has left since the table was written. With left_until, all that the
	 * programs write in here. */
	__u32 left;
	/* Set of the one port that was used before and may deliver frames to one station until linger_until; or empty. */
	__u32 linger;
	__u8 order[MAX_PORTS];
	/* Where a port stands in `order`, by port. */
	__u8 place[MAX_PORTS];
	__u8 home[MAX_BUCKETS];
	__u8 now[MAX_BUCKETS];
	/* CLOCK_MONOTONIC, nanoseconds. */
	__u64 linger_until;
	/* Until then, frames to one station are accepted from the ports in `left`: they were under way when the link died.
	 * Written by the programs, CLOCK_MONOTONIC, nanoseconds. */
	__u64 left_until;
};

/* One port. */
struct port {
	/* Address of its struct net_device; 0: none. */
	__u64 netdev;
	/* Interface index; 0: no such port. */
	__u32 ifindex;
	/* The daemon's notes (which hook); not read here. */
	__u32 flags;
};

/* Per port and CPU. A segmentation-offload frame counts as one packet, as in the interface counters of veth. */
struct port_counters {
	__u64 tx_packets;
	__u64 tx_bytes;
	__u64 rx_packets;
	__u64 rx_bytes;
	/* Arrived while the port does not receive for the bond; dropped. */
	__u64 rx_inactive;
	/* Sent here although the table names another port, which had no carrier. Part of tx_packets. */
	__u64 tx_moved;
};

/* Per bond and CPU. */
struct bond_counters {
	/* Frames of the bond dropped because no port could take them. */
	__u64 tx_no_port;
	/* Times a program left a port by itself. */
	__u64 ports_left;
};

/* The daemon's mark on the maps; the programs do not read it. */
struct abi {
	__u32 magic;
	__u32 version;
	__u32 table_size;
	__u32 port_size;
	__u32 front_kind;
	__u32 bond_ifindex;
	__u32 inner_ifindex;
	__u32 front_flags;
};

/* Written to the ring buffer when a program leaves a port. */
struct left_record {
	/* CLOCK_MONOTONIC. */
	__u64 time_ns;
	__u32 port;
	__u32 reason;
};

/* Sizes and offsets for the test that compares src/abi.rs with this file. Never loaded. */
static const __u32 layout[] SEC("oxbond_layout") = {
	ABI_MAGIC,
	ABI_VERSION,
	MAX_PORTS,
	MAX_BUCKETS,
	LINGER_NS,
	sizeof(struct table),
	offsetof(struct table, spread),
	offsetof(struct table, policy),
	offsetof(struct table, flags),
	offsetof(struct table, order_len),
	offsetof(struct table, bucket_len),
	offsetof(struct table, members),
	offsetof(struct table, left),
	offsetof(struct table, linger),
	offsetof(struct table, order),
	offsetof(struct table, place),
	offsetof(struct table, home),
	offsetof(struct table, now),
	offsetof(struct table, linger_until),
	offsetof(struct table, left_until),
	sizeof(struct port),
	offsetof(struct port, netdev),
	offsetof(struct port, ifindex),
	offsetof(struct port, flags),
	sizeof(struct port_counters),
	offsetof(struct port_counters, tx_packets),
	offsetof(struct port_counters, tx_bytes),
	offsetof(struct port_counters, rx_packets),
	offsetof(struct port_counters, rx_bytes),
	offsetof(struct port_counters, rx_inactive),
	offsetof(struct port_counters, tx_moved),
	sizeof(struct bond_counters),
	offsetof(struct bond_counters, tx_no_port),
	offsetof(struct bond_counters, ports_left),
	sizeof(struct abi),
	offsetof(struct abi, magic),
	offsetof(struct abi, version),
	offsetof(struct abi, table_size),
	offsetof(struct abi, port_size),
	offsetof(struct abi, front_kind),
	offsetof(struct abi, bond_ifindex),
	offsetof(struct abi, inner_ifindex),
	offsetof(struct abi, front_flags),
	sizeof(struct left_record),
	offsetof(struct left_record, time_ns),
	offsetof(struct left_record, port),
	offsetof(struct left_record, reason),
	SPREAD_FAILOVER,
	SPREAD_BUCKETS,
	TABLE_ALL_PORTS_ACTIVE,
	POLICY_LAYER2,
	POLICY_LAYER34,
	POLICY_LAYER23,
	POLICY_ENCAP23,
	POLICY_ENCAP34,
	POLICY_VLAN_SRCMAC,
	LEFT_NO_CARRIER,
	LEFT_DOWN,
	LEFT_GONE,
};
