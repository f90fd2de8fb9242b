/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The data path of one bond.
 *
 *                       bond_tx                              port_rx
 *   stack > bond0 > inner end, ingress > port        port, ingress > inner end, egress > bond0 > stack
 *
 * With netkit as the bond's device bond_tx runs in that device's own transmit instead.
 *
 * Every program answers TC_ACT_UNSPEC (= TCX_NEXT) for what it does not take, so that other programs on the same hook
 * go on seeing it. */
#include <linux/pkt_cls.h>

#include "abi.h"
#include "class.h"
#include "decide.h"
#include "hash.h"
#include "lacp.h"
#include "maps.h"
#include "netdev.h"
#include "stations.h"
#include "tap.h"

const char program_license[] SEC("license") = "Dual MIT/GPL";

#define CLASS_NEIGHBOUR (CLASS_ARP | CLASS_ND)

/* Counts a frame, and names the interface it goes to; 0 when there is none. */
INLINE __u32 count_on(const struct __sk_buff *skb, __u32 id, __u32 moved)
{
	struct port_counters *counters = counters_of(id);
	struct port *port = port_at(id);

	if (!counters || !port)
		return 0;
	counters->tx_packets++;
	counters->tx_bytes += skb->len;
	counters->tx_moved += moved;
	return port->ifindex;
}

INLINE int send_on(struct __sk_buff *skb, __u32 id, __u32 moved)
{
	__u32 ifindex = count_on(skb, id, moved);

	return ifindex ? bpf_redirect(ifindex, 0) : TC_ACT_SHOT;
}

INLINE int drop(void)
{
	struct bond_counters *counters = counters_of_bond();

	if (counters)
		counters->tx_no_port++;
	return TC_ACT_SHOT;
}

/* Sends a frame on every usable port: copies on all but the last. */
APART int send_on_all(struct __sk_buff *skb, struct table *table)
{
	__u32 usable;

	if (!table)
		return TC_ACT_SHOT;
	usable = usable_ports(table);
	for (__u32 i = 0; i < MAX_PORTS && i < table->order_len; i++) {
		__u32 id = table->order[i], ifindex;

		if (!(usable & (1U << (id & 31))))
			continue;
		usable &= ~(1U << (id & 31));
		if (!usable)
			return send_on(skb, id, 0);
		ifindex = count_on(skb, id, 0);
		if (ifindex)
			bpf_clone_redirect(skb, ifindex, 0);
	}
	return drop();
}

/* The port that the table names for a transmit queue, else NO_PORT. */
APART __u32 queue_port(const struct table *table, __u32 queue)
{
	if (!table)
		return NO_PORT;
	for (__u32 i = 0; i < MAX_PORTS && i < table->queue_len; i++) {
		if (table->queues[i] == queue)
			return table->queue_ports[i];
	}
	return NO_PORT;
}

/* The number that a frame's bucket is computed from. */
APART __u32 key_of(struct __sk_buff *skb, const struct table *table, __u32 destination)
{
	struct bond_counters *counters;
	__u32 spread;

	if (!table)
		return 0;
	spread = table->kind & SPREAD_MASK;
	if (spread == SPREAD_HASH)
		return frame_hash(skb, table->policy);
	if (spread == SPREAD_DESTINATION)
		return destination;
	if (!table->policy)
		return bpf_get_prandom_u32();
	counters = counters_of_bond();
	return counters ? (__u32)++counters->sequence / table->policy : 0;
}

INLINE void measure(__u32 slot, __u32 bucket, __u32 len)
{
	struct loads *loads = loads_of(slot);

	if (!loads)
		return;
	OPAQUE(bucket);
	if (bucket < BALANCE_BUCKETS)
		loads->buckets[bucket] += len;
	else
		loads->exempt += len;
}

/* The rules of all tables. The two kinds that need only a few of them have a shorter way, in bond_tx. */
APART int send_by_rules(struct __sk_buff *skb, struct table *table, __u32 slot)
{
	__u32 kind, id = NO_PORT, planned = NO_PORT, bucket = MAX_BUCKETS;
	struct answer answer = {};
	struct view view = {};
	int answers = 0;

	if (!table)
		return TC_ACT_SHOT;
	kind = table->kind;
	if ((kind & TX_CLASSES) && !glance(skb, &view)) {
		look(skb, &view);
		if ((kind & TX_TAP_NEIGHBOURS) && (view.class & CLASS_NEIGHBOUR))
			tap(skb, FROM_HOST);
	}
	if (kind & TX_QUEUES) {
		planned = queue_port(table, skb->queue_mapping);
		if (planned != NO_PORT)
			id = if_usable(table, planned);
	}
	if (id == NO_PORT) {
		if ((kind & SPREAD_MASK) == SPREAD_BROADCAST ||
		    ((kind & TX_NEIGHBOURS_TO_ALL) && (view.class & CLASS_NEIGHBOUR)))
			return send_on_all(skb, table);
		if ((kind & TX_CLIENTS) && (view.class & CLASS_NEIGHBOUR) && is_answer(skb, table, &view, &answer)) {
			answers = 1;
			planned = table->clients[answer.client & (BALANCE_BUCKETS - 1)];
			id = if_usable(table, planned);
		} else if ((kind & SPREAD_MASK) != SPREAD_FAILOVER && !(view.class & table->exempt)) {
			if (!table->bucket_len)
				return drop();
			bucket = bucket_of(table, key_of(skb, table, view.destination));
			if (bucket >= MAX_BUCKETS)
				return drop();
			planned = table->now[bucket];
			id = if_usable(table, planned);
			if (id == NO_PORT)
				id = bucket_around_dead(table, bucket);
		}
		if (id == NO_PORT && bucket == MAX_BUCKETS) {
			if (planned == NO_PORT)
				planned = table->order[0];
			id = active_port(table);
		}
	}
	if (id == NO_PORT)
		return drop();
	if (kind & TX_MEASURED)
		measure(slot, bucket, skb->len);
	if (table->foreign & (1U << (id & 31))) {
		if (answers)
			answer_from(skb, table, &answer, id);
		bpf_skb_store_bytes(skb, MAC_LEN, table->stations[id & 31], MAC_LEN, 0);
	}
	return send_on(skb, id, id != planned);
}

/* A frame that the host sends through the bond. */
SEC("classifier")
int bond_tx(struct __sk_buff *skb)
{
	__u32 id, planned, bucket = MAX_BUCKETS, slot = 0;
	struct table *table = current_table(&slot);

	if (!table)
		return TC_ACT_SHOT;
	if (table->kind == SPREAD_FAILOVER) {
		planned = table->order[0];
		id = first_of(table, table->members & ~table->left);
	} else if (table->kind == SPREAD_HASH) {
		bucket = bucket_of(table, frame_hash(skb, table->policy));
		if (bucket >= MAX_BUCKETS)
			return drop();
		planned = table->now[bucket];
		id = table->left & (1U << (planned & 31)) ? NO_PORT : planned;
	} else {
		return send_by_rules(skb, table, slot);
	}
	if (unlikely(!has_carrier(id)))
		id = bucket == MAX_BUCKETS ? failover_around_dead(table) : bucket_around_dead(table, bucket);
	return likely(id != NO_PORT) ? send_on(skb, id, id != planned) : drop();
}

APART __u32 search_port(__u32 ifindex)
{
	for (__u32 id = 0; id < MAX_PORTS; id++) {
		struct port *port = port_at(id);

		if (port && port->ifindex == ifindex)
			return id;
	}
	return NO_PORT;
}

/* The port with this interface index, else NO_PORT. */
INLINE __u32 port_of(__u32 ifindex)
{
	struct hints *hints = all_hints();

	if (likely(hints)) {
		__u32 id = hints->ports[ifindex % sizeof(hints->ports)];
		struct port *port = port_at(id);

		if (likely(port && port->ifindex == ifindex))
			return id;
	}
	return search_port(ifindex);
}

/* 01:80:c2:00:00:00 to 0f: frames between neighbours on the wire (LLDP, LACP, STP), never forwarded. */
INLINE int is_link_local(const struct __sk_buff *skb)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;

	return data + 6 <= end && data[0] == 0x01 && data[1] == 0x80 && data[2] == 0xc2 && data[3] == 0 &&
	       data[4] == 0 && data[5] < 0x10;
}

/* Whether the frame goes to one station. */
INLINE int is_unicast(const struct __sk_buff *skb)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;

	return data + 1 <= end && !(data[0] & 1);
}

/* Whether this port was in use a moment ago and the frame goes to one station: it was sent before the other end knew.
 * What goes to a group has come, or will, on the port in use now as well. */
INLINE int lingers(const struct __sk_buff *skb, const struct table *table, __u32 id)
{
	__u32 bit = 1U << (id & 31);
	__u64 now;

	if (!((table->linger | table->left) & bit) || !is_unicast(skb))
		return 0;
	now = bpf_ktime_get_ns();
	return ((table->linger & bit) && now < table->linger_until) || ((table->left & bit) && now < table->left_until);
}

/* Whether this port is the active one. The first that has not been left is taken to work without a look at its link:
 * a frame has just come from it. */
INLINE int is_active(struct table *table, __u32 id)
{
	__u32 first = first_of(table, table->members & ~table->left);

	return likely(first == id) || (!has_carrier(first) && failover_around_dead(table) == id);
}

/* Whether the table lets this port deliver the frame to the bond. */
INLINE int accepts(struct __sk_buff *skb, struct table *table, __u32 id)
{
	__u32 bit = 1U << (id & 31);

	switch (table->receive & RECEIVE_MASK) {
	case RECEIVE_PORTS:
		return !!(table->receivers & bit);
	case RECEIVE_ACTIVE:
		return (table->members & bit) && (is_active(table, id) || lingers(skb, table, id));
	default:
		if (!(table->members & bit))
			return 0;
		switch (whose(skb, table, id)) {
		case WHOSE_OWN:
			return 1;
		case WHOSE_ANOTHERS:
			return 0;
		}
		return is_active(table, id) || lingers(skb, table, id);
	}
}

/* report_arrival: the frame goes the way of all frames; it was for the daemon alone; it has become an answer that leaves on
 * its port; it is for whoever else has the port. */
#define GOES_ON 0
#define CONSUMED 1
#define ANSWERED 2
#define PASSED 3

/* What the daemon wants to see or know of a frame that arrives. */
APART int report_arrival(struct __sk_buff *skb, __u32 receive, __u32 id)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;
	struct view view;
	__u32 type;

	if (data + ETHERNET_LEN > end)
		return 0;
	type = half(data + 12);
	if (receive & RX_ARRIVALS) {
		struct arrivals *arrivals = arrivals_of(id);

		if (arrivals) {
			__u64 tick = bpf_jiffies64();

			/* The clock moves once in a tick, and asking it costs more than all the rest. */
			if (arrivals->tick != tick) {
				arrivals->tick = tick;
				arrivals->any = bpf_ktime_get_coarse_ns();
			}
			if (type == WIRE(TYPE_ARP) || type == WIRE(TYPE_IPV6))
				arrivals->neighbour = arrivals->any;
		}
	}
	if ((receive & RX_TAP_SLOW) && type == WIRE(TYPE_SLOW_PROTOCOLS) && is_link_local(skb) && data[5] == 2) {
		struct port *port = port_at(id);

		if (port && (port->flags & PORT_LENT))
			return PASSED;
		tap(skb, id);
		return stand_in(skb, id) ? ANSWERED : CONSUMED;
	}
	if (!(receive & RX_TAP_NEIGHBOURS) || (type != WIRE(TYPE_ARP) && type != WIRE(TYPE_IPV6) && !is_vlan(type)))
		return 0;
	if (glance(skb, &view))
		return 0;
	look(skb, &view);
	if (view.class & CLASS_NEIGHBOUR)
		tap(skb, id);
	return 0;
}

/* A frame that arrives on a port. */
SEC("classifier")
int port_rx(struct __sk_buff *skb)
{
	__u32 slot = 0, id = port_of(skb->ifindex);
	struct table *table = current_table(&slot);
	struct port_counters *counters;

	if (!table || id == NO_PORT)
		return TC_ACT_SHOT;
	counters = counters_of(id);
	if (!counters)
		return TC_ACT_SHOT;
	if (unlikely(table->receive & (RX_TAP_NEIGHBOURS | RX_TAP_SLOW | RX_ARRIVALS))) {
		int fate = report_arrival(skb, table->receive, id);

		if (fate == PASSED)
			return TC_ACT_UNSPEC;
		if (fate != GOES_ON)
			return fate == ANSWERED ? bpf_redirect(skb->ifindex, 0) : TC_ACT_SHOT;
	}
	if (likely(accepts(skb, table, id))) {
		if (unlikely(table->receive & RX_STATIONS))
			take_for_bond(skb, table);
		counters->rx_packets++;
		counters->rx_bytes += skb->len;
		return bpf_redirect(inner_ifindex, 0);
	}
	if (is_link_local(skb))
		return TC_ACT_UNSPEC;
	counters->rx_inactive++;
	return TC_ACT_SHOT;
}

/* Finds the struct net_device of an interface. Only ever test-run by the daemon, with the interface's index in
 * __sk_buff.ifindex; the kernel then makes that device skb->dev (5.9+). The address comes back in cb[0] (low) and
 * cb[1] (high); all zero when it could not be read or is not that interface. */
SEC("classifier")
int find_netdev(struct __sk_buff *skb)
{
	const struct sk_buff *kernel_skb = (const void *)skb;
	struct net_device *dev = 0;
	__u32 ifindex = 0;

	skb->cb[0] = 0;
	skb->cb[1] = 0;
	if (bpf_probe_read_kernel(&dev, sizeof(dev), &kernel_skb->dev) ||
	    bpf_probe_read_kernel(&ifindex, sizeof(ifindex), &dev->ifindex) || ifindex != skb->ifindex)
		return TC_ACT_UNSPEC;
	skb->cb[0] = (__u32)(long)dev;
	skb->cb[1] = (__u32)((__u64)(long)dev >> 32);
	return TC_ACT_UNSPEC;
}

/* The hash under policy cb[0] of the frame cut to cb[1] bytes, with VLAN tag cb[2] (0 for none) in its metadata, as the
 * run's answer. (The kernel refuses to run a program on a frame that breaks off within its IP header, so it is cut
 * here.) 0 in cb[1] means that all went well. Not loaded by the daemon: the twin test runs it. */
SEC("classifier")
int hash_only(struct __sk_buff *skb)
{
	__u32 len = skb->cb[1];

	if (len != skb->len && bpf_skb_change_tail(skb, len, 0))
		return 0;
	if (skb->cb[2] && bpf_skb_vlan_push(skb, __builtin_bswap16(TYPE_VLAN), skb->cb[2]))
		return 0;
	skb->cb[1] = 0;
	return frame_hash(skb, skb->cb[0]);
}

/* Does nothing: what a run costs before any of our work. Not loaded by the daemon either. */
SEC("classifier")
int empty(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_UNSPEC;
}
