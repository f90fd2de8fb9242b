/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A port's link, read from the kernel's own structure on every packet. */
#pragma once

#include "abi.h"

struct net_device {
	unsigned long state;
	int ifindex;
} KERNEL_TYPE;

struct sk_buff {
	struct net_device *dev;
} KERNEL_TYPE;

/* Bits of net_device.state. */
#define LINK_STATE_START 0
#define LINK_STATE_NOCARRIER 2

/* 0 when the port can carry frames now, else why not (LEFT_...).
 *
 * The address may be that of a device that has been removed: the read cannot fault, and memory that no longer holds
 * this interface index counts as gone. */
INLINE __u32 port_trouble(const struct port *port)
{
	const struct net_device *dev = (const void *)port->netdev;
	unsigned long state = 0;
	__u32 ifindex = 0;

	if (bpf_probe_read_kernel(&state, sizeof(state), &dev->state) ||
	    bpf_probe_read_kernel(&ifindex, sizeof(ifindex), &dev->ifindex) || ifindex != port->ifindex ||
	    ifindex == 0)
		return LEFT_GONE;
	if (!(state & (1UL << LINK_STATE_START)))
		return LEFT_DOWN;
	if (state & (1UL << LINK_STATE_NOCARRIER))
		return LEFT_NO_CARRIER;
	return 0;
}
