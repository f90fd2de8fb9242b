/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The maps of one bond, and the shortest way to their elements. */
#pragma once

#include "abi.h"

/* Index of the table slot in force. Flipping this word is how a new table takes effect. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u32);
} control SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 2);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct table);
} tables SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, MAX_PORTS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct port);
} ports SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, MAX_PORTS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct port_counters);
} port_counters SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct bond_counters);
} bond_counters SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct abi);
} abi SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_RINGBUF);
	MAP_UINT(max_entries, 4096);
} left_records SEC(".maps");

/* The end behind the bond's device, whose transmissions the bond's device receives. Set before loading. */
const volatile __u32 inner_ifindex = 0;

INLINE struct table *current_table(void)
{
	__u32 zero = 0;
	__u32 *slot = bpf_map_lookup_elem(&control, &zero);

	return slot ? bpf_map_lookup_elem(&tables, slot) : 0;
}

INLINE struct port *port_at(__u32 id)
{
	return bpf_map_lookup_elem(&ports, &id);
}

INLINE struct port_counters *counters_of(__u32 id)
{
	return bpf_map_lookup_elem(&port_counters, &id);
}

INLINE struct bond_counters *counters_of_bond(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bond_counters, &zero);
}
