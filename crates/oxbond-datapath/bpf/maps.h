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

/* By slot of the table. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, 2);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct loads);
} loads SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, MAX_PORTS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct arrivals);
} arrivals SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, MAX_PORTS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct standing);
} standing SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct hints);
} hints SEC(".maps");

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

/* Apart from the records of left ports, so that a storm of tapped frames cannot push those out. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_RINGBUF);
	MAP_UINT(max_entries, 65536);
} tapped_frames SEC(".maps");

/* The end behind the bond's device, whose transmissions the bond's device receives. Set before loading. */
const volatile __u32 inner_ifindex = 0;

/* The table in force; `slot` is set to where it lies. */
INLINE struct table *current_table(__u32 *slot)
{
	__u32 zero = 0;
	__u32 *found = bpf_map_lookup_elem(&control, &zero);

	if (!found)
		return 0;
	*slot = *found;
	return bpf_map_lookup_elem(&tables, slot);
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

INLINE struct loads *loads_of(__u32 slot)
{
	return bpf_map_lookup_elem(&loads, &slot);
}

INLINE struct arrivals *arrivals_of(__u32 id)
{
	return bpf_map_lookup_elem(&arrivals, &id);
}

INLINE struct standing *standing_of(__u32 id)
{
	return bpf_map_lookup_elem(&standing, &id);
}

INLINE struct hints *all_hints(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&hints, &zero);
}
