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
#include "decide.h"
#include "hash.h"
#include "maps.h"
#include "netdev.h"

const char program_license[] SEC("license") = "Dual MIT/GPL";

INLINE int send_on(struct __sk_buff *skb, __u32 id, __u32 moved)
{
	struct port_counters *counters = counters_of(id);
	struct port *port = port_at(id);

	if (!counters || !port)
		return TC_ACT_SHOT;
	counters->tx_packets++;
	counters->tx_bytes += skb->len;
	counters->tx_moved += moved;
	return bpf_redirect(port->ifindex, 0);
}

/* A frame that the host sends through the bond. */
SEC("classifier")
int bond_tx(struct __sk_buff *skb)
{
	struct table *table = current_table();
	struct bond_counters *counters;
	__u32 id, planned = NO_PORT;

	if (!table)
		return TC_ACT_SHOT;
	if (table->spread == SPREAD_FAILOVER) {
		planned = table->order[0];
		id = failover_port(table);
	} else {
		id = bucket_port(table, frame_hash(skb, table->policy), &planned);
	}
	if (likely(id != NO_PORT))
		return send_on(skb, id, id != planned);
	counters = counters_of_bond();
	if (counters)
		counters->tx_no_port++;
	return TC_ACT_SHOT;
}

/* The port with this interface index, else NO_PORT. */
INLINE __u32 port_of(__u32 ifindex)
{
	for (__u32 id = 0; id < MAX_PORTS; id++) {
		struct port *port = port_at(id);

		if (port && port->ifindex == ifindex)
			return id;
	}
	return NO_PORT;
}

/* 01:80:c2:00:00:00 to 0f: frames between neighbours on the wire (LLDP, LACP, STP), never forwarded. */
INLINE int is_link_local(const struct __sk_buff *skb)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;

	return data + 6 <= end && data[0] == 0x01 && data[1] == 0x80 && data[2] == 0xc2 && data[3] == 0 &&
	       data[4] == 0 && data[5] < 0x10;
}

/* Whether this port was in use a moment ago and the frame goes to one station: it was sent before the other end knew.
 * What goes to a group has come, or will, on the port in use now as well. */
INLINE int lingers(const struct __sk_buff *skb, const struct table *table, __u32 id)
{
	const __u8 *data = (const void *)(long)skb->data;
	const __u8 *end = (const void *)(long)skb->data_end;
	__u32 bit = 1U << (id & 31);
	__u64 now;

	if (!((table->linger | table->left) & bit) || data + 1 > end || (data[0] & 1))
		return 0;
	now = bpf_ktime_get_ns();
	return ((table->linger & bit) && now < table->linger_until) || ((table->left & bit) && now < table->left_until);
}

/* Whether the table lets this port receive for the bond. */
INLINE int accepts(struct table *table, __u32 id)
{
	if (!(table->members & (1U << (id & 31))))
		return 0;
	return table->spread != SPREAD_FAILOVER || (table->flags & TABLE_ALL_PORTS_ACTIVE) ||
	       failover_port(table) == id;
}

/* A frame that arrives on a port. */
SEC("classifier")
int port_rx(struct __sk_buff *skb)
{
	struct table *table = current_table();
	struct port_counters *counters;
	__u32 id = port_of(skb->ifindex);

	if (!table || id == NO_PORT)
		return TC_ACT_SHOT;
	counters = counters_of(id);
	if (!counters)
		return TC_ACT_SHOT;
	if (likely(accepts(table, id)) || lingers(skb, table, id)) {
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
