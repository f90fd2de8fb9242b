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

/* Where a field lies in this kernel's structure: a constant when the program is loaded. */
#define FIELD_OFFSET(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)

/* Reach of one read. A read costs some 20 ns, however many of these bytes it fetches; the stack is what limits them. */
#define READ_MAX 64

/* 0 when the port can carry frames now, else why not (LEFT_...).
 *
 * The address may be that of a device that has been removed: the read cannot fault, and memory that no longer holds
 * this interface index counts as gone. State and index are read in one go where they lie close enough to each other:
 * 60 bytes together in 6.12 and 6.18, but 164 in 6.1. */
INLINE __u32 port_trouble(const struct port *port)
{
	const __u32 state_at = FIELD_OFFSET(struct net_device, state);
	const __u32 ifindex_at = FIELD_OFFSET(struct net_device, ifindex);
	const __u32 first = state_at < ifindex_at ? state_at : ifindex_at;
	const __u32 span = state_at < ifindex_at ? ifindex_at - first + 4 : state_at - first + 8;
	const void *dev = (const void *)port->netdev;
	unsigned long state = 0;
	__u32 ifindex = 0;

	if (span <= READ_MAX) {
		__u64 buffer[READ_MAX / 8];

		if (bpf_probe_read_kernel(buffer, span, dev + first))
			return LEFT_GONE;
		state = *(unsigned long *)((void *)buffer + (state_at - first));
		ifindex = *(__u32 *)((void *)buffer + (ifindex_at - first));
	} else if (bpf_probe_read_kernel(&state, sizeof(state), dev + state_at) ||
		   bpf_probe_read_kernel(&ifindex, sizeof(ifindex), dev + ifindex_at)) {
		return LEFT_GONE;
	}
	if (!ifindex || ifindex != port->ifindex)
		return LEFT_GONE;
	if (!(state & (1UL << LINK_STATE_START)))
		return LEFT_DOWN;
	if (state & (1UL << LINK_STATE_NOCARRIER))
		return LEFT_NO_CARRIER;
	return 0;
}
