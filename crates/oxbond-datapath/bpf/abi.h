/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the programs and the daemon share through maps. The Rust mirror is src/abi.rs; a test compares the two through
 * the `layout` section below. Change either and the version must go up: a daemon adopts only its own version. */
#pragma once

#include "bpf.h"

#define ABI_MAGIC 0x6f78626e /* "oxbn" */
#define ABI_VERSION 4

#define MAX_PORTS 32
#define MAX_BUCKETS 1024

/* How long a port used before goes on delivering: LINGER of the core. */
#define LINGER_NS 200000000

/* Buckets of a table whose buckets are measured, and of table.clients. */
#define BALANCE_BUCKETS 256

/* Most bytes of a tapped frame: TAPPED_LEN of the core. */
#define TAPPED_LEN 192

/* Bytes of a standing answer, and least time between two: SPACING of the core. */
#define STANDING_LEN 124
#define STANDING_SPACING_NS 400000000

/* table.kind: how frames are spread, in the low bits. A table that needs nothing else has nothing else in the word, so
 * that one comparison tells the short way from the long one. */
#define SPREAD_FAILOVER 0
#define SPREAD_HASH 1
#define SPREAD_SEQUENCE 2
#define SPREAD_DESTINATION 3
#define SPREAD_BROADCAST 4
#define SPREAD_MASK 7
/* A frame's class matters: exempt frames, neighbours, destinations. */
#define TX_CLASSES 0x10
/* table.queues is not empty. */
#define TX_QUEUES 0x20
#define TX_NEIGHBOURS_TO_ALL 0x40
/* Ports have addresses of their own. */
#define TX_STATIONS 0x80
/* table.clients is in use. */
#define TX_CLIENTS 0x100
#define TX_MEASURED 0x200
#define TX_TAP_NEIGHBOURS 0x400

/* table.receive: which ports deliver, in the low bits. */
#define RECEIVE_ACTIVE 0
#define RECEIVE_ACTIVE_AND_OWN 1
#define RECEIVE_PORTS 2
#define RECEIVE_MASK 3
#define RX_TAP_NEIGHBOURS 0x10
#define RX_TAP_SLOW 0x20
#define RX_ARRIVALS 0x40
#define RX_STATIONS 0x80

/* table.exempt: classes of frames. */
#define CLASS_GROUP 0x1	      /* to a group of stations */
#define CLASS_NOT_IP 0x2      /* neither IPv4 nor IPv6 */
#define CLASS_IGMP 0x4	      /* in IPv4 */
#define CLASS_LIMITED 0x8     /* IPv4 to 255.255.255.255 */
#define CLASS_ALL_NODES 0x10  /* IPv6 to ff02::1 */
#define CLASS_UNSPECIFIED 0x20 /* IPv6 from :: */
#define CLASS_ARP 0x40	      /* also behind VLAN tags */
#define CLASS_ND 0x80	      /* neighbour solicitation or advertisement, also behind VLAN tags */

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
	/* SPREAD_ and TX_ */
	__u32 kind;
	/* RECEIVE_ and RX_ */
	__u32 receive;
	/* SPREAD_HASH: POLICY_; SPREAD_SEQUENCE: packets per port, 0 for a random bucket. */
	__u32 policy;
	/* Classes of the frames that go to the active port, not by bucket. */
	__u32 exempt;
	/* Ports in `order`; 0 drops everything. */
	__u32 order_len;
	/* Buckets in `home`, `spare` and `now`. */
	__u32 bucket_len;
	/* Entries of `queues` and `queue_ports`. */
	__u32 queue_len;
	/* Set of the ports in `order`. */
	__u32 members;
	/* RECEIVE_PORTS: set of the ports that deliver. */
	__u32 receivers;
	/* Set of the ports whose address in `stations` is not the bond's. */
	__u32 foreign;
	/* Set of the ports that a program has left since the table was written. With left_until, all that the
	 * programs write in here. */
	__u32 left;
	/* Set of the one port that was used before and may deliver frames to one station until linger_until; or empty. */
	__u32 linger;
	/* Transmit queues, and the port of each. */
	__u16 queues[MAX_PORTS];
	__u8 queue_ports[MAX_PORTS];
	__u8 order[MAX_PORTS];
	/* Where a port stands in `order`, by port. */
	__u8 place[MAX_PORTS];
	/* Link-layer addresses, the bond's and by port; two bytes of zero behind each. */
	__u8 bond[8];
	__u8 stations[MAX_PORTS][8];
	/* Port on which a client is to reach us, by the XOR of the bytes of its IP address. */
	__u8 clients[BALANCE_BUCKETS];
	__u8 home[MAX_BUCKETS];
	__u8 spare[MAX_BUCKETS];
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
	/* The daemon's notes (which hook), and PORT_LENT. */
	__u32 flags;
};

/* port.flags: the port is another bond's, which speaks LACP on it. */
#define PORT_LENT 8

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
	/* LACPDUs answered in the daemon's place. Not part of the others. */
	__u64 lacp_answered;
};

/* Per bond and CPU. */
struct bond_counters {
	/* Frames of the bond dropped because no port could take them. */
	__u64 tx_no_port;
	/* Times a program left a port by itself. */
	__u64 ports_left;
	/* SPREAD_SEQUENCE: frames so far. Wraps. */
	__u64 sequence;
};

/* Bytes sent under one slot of the table, by bucket. Per CPU, and cleared before the slot is written. */
struct loads {
	__u64 buckets[BALANCE_BUCKETS];
	/* By exempt frames. */
	__u64 exempt;
};

/* When frames last arrived on a port. Per CPU; CLOCK_MONOTONIC_COARSE, nanoseconds; 0: none yet. */
struct arrivals {
	__u64 any;
	/* ARP or IPv6. */
	__u64 neighbour;
	/* The kernel's tick at `any`. */
	__u64 tick;
};

/* What a port's partner is answered while the daemon is late, stopped or dead. Times are CLOCK_MONOTONIC, nanoseconds. */
struct standing {
	/* Not before; 0: nothing is answered. */
	__u64 from;
	/* Not after. */
	__u64 until;
	/* When it was last sent; 0: not yet. Written by the programs. */
	__u64 answered;
	/* A whole LACPDU, and four bytes of zero. */
	__u8 frame[STANDING_LEN + 4];
};

/* By interface index modulo its size: the port that may have it. Only a hint, the port itself has the truth. */
struct hints {
	__u8 ports[256];
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

/* tapped.port: sent by the host. */
#define FROM_HOST 0xffffffff

/* Written to a ring buffer of its own: a frame that the daemon asked to see. */
struct tapped {
	/* CLOCK_MONOTONIC. */
	__u64 time_ns;
	/* Where it arrived, or FROM_HOST. */
	__u32 port;
	/* Bytes in `frame`. */
	__u32 len;
	/* From the destination address on, a VLAN tag out of the metadata in its place again. */
	__u8 frame[TAPPED_LEN];
};

/* Sizes and offsets for the test that compares src/abi.rs with this file. Never loaded. */
static const __u32 layout[] SEC("oxbond_layout") = {
	ABI_MAGIC,
	ABI_VERSION,
	MAX_PORTS,
	MAX_BUCKETS,
	BALANCE_BUCKETS,
	TAPPED_LEN,
	LINGER_NS,
	STANDING_LEN,
	STANDING_SPACING_NS,
	sizeof(struct table),
	offsetof(struct table, kind),
	offsetof(struct table, receive),
	offsetof(struct table, policy),
	offsetof(struct table, exempt),
	offsetof(struct table, order_len),
	offsetof(struct table, bucket_len),
	offsetof(struct table, queue_len),
	offsetof(struct table, members),
	offsetof(struct table, receivers),
	offsetof(struct table, foreign),
	offsetof(struct table, left),
	offsetof(struct table, linger),
	offsetof(struct table, queues),
	offsetof(struct table, queue_ports),
	offsetof(struct table, order),
	offsetof(struct table, place),
	offsetof(struct table, bond),
	offsetof(struct table, stations),
	offsetof(struct table, clients),
	offsetof(struct table, home),
	offsetof(struct table, spare),
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
	offsetof(struct port_counters, lacp_answered),
	sizeof(struct bond_counters),
	offsetof(struct bond_counters, tx_no_port),
	offsetof(struct bond_counters, ports_left),
	offsetof(struct bond_counters, sequence),
	sizeof(struct loads),
	offsetof(struct loads, buckets),
	offsetof(struct loads, exempt),
	sizeof(struct arrivals),
	offsetof(struct arrivals, any),
	offsetof(struct arrivals, neighbour),
	offsetof(struct arrivals, tick),
	sizeof(struct standing),
	offsetof(struct standing, from),
	offsetof(struct standing, until),
	offsetof(struct standing, answered),
	offsetof(struct standing, frame),
	sizeof(struct hints),
	offsetof(struct hints, ports),
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
	sizeof(struct tapped),
	offsetof(struct tapped, time_ns),
	offsetof(struct tapped, port),
	offsetof(struct tapped, len),
	offsetof(struct tapped, frame),
	SPREAD_FAILOVER,
	SPREAD_HASH,
	SPREAD_SEQUENCE,
	SPREAD_DESTINATION,
	SPREAD_BROADCAST,
	SPREAD_MASK,
	TX_CLASSES,
	TX_QUEUES,
	TX_NEIGHBOURS_TO_ALL,
	TX_STATIONS,
	TX_CLIENTS,
	TX_MEASURED,
	TX_TAP_NEIGHBOURS,
	RECEIVE_ACTIVE,
	RECEIVE_ACTIVE_AND_OWN,
	RECEIVE_PORTS,
	RECEIVE_MASK,
	RX_TAP_NEIGHBOURS,
	RX_TAP_SLOW,
	RX_ARRIVALS,
	RX_STATIONS,
	CLASS_GROUP,
	CLASS_NOT_IP,
	CLASS_IGMP,
	CLASS_LIMITED,
	CLASS_ALL_NODES,
	CLASS_UNSPECIFIED,
	CLASS_ARP,
	CLASS_ND,
	POLICY_LAYER2,
	POLICY_LAYER34,
	POLICY_LAYER23,
	POLICY_ENCAP23,
	POLICY_ENCAP34,
	POLICY_VLAN_SRCMAC,
	LEFT_NO_CARRIER,
	LEFT_DOWN,
	LEFT_GONE,
	FROM_HOST,
};
