/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which port a frame takes. The twin in Rust is TransmitTable::decide (oxbond-core); a test runs both.
 *
 * A port found dead is *left*: its bit in table.left keeps every later frame, sent or received, from returning to it
 * before the daemon has written a new table. Only when no other port is usable does the latch not count. */
#pragma once

#include "maps.h"
#include "netdev.h"

#define NO_PORT 0xffffffff

INLINE int has_carrier(__u32 id)
{
	struct port *port = port_at(id);

	return port && !port_trouble(port);
}

/* The set of the table's ports that have carrier now.
 *
 * Sets are gathered from numbers read out of the table, never from a loop's own counter: the verifier would know each
 * possible sum and follow every one of the 2^32. */
NOINLINE __u32 carrier_now(const struct table *table)
{
	__u32 found = 0;

	for (__u32 i = 0; i < MAX_PORTS && i < table->order_len; i++) {
		__u32 id = table->order[i];

		if (has_carrier(id))
			found |= 1U << (id & 31);
	}
	return found;
}

/* Latch the ports of `dead`, and tell the daemon of those that are newly so. */
NOINLINE int leave(struct table *table, __u32 dead)
{
	struct bond_counters *counters = counters_of_bond();

	if (!counters)
		return 0;
	/* Before the set, so that whoever sees the port in it sees the time too. */
	table->left_until = bpf_ktime_get_ns() + LINGER_NS;
	dead &= ~__sync_fetch_and_or(&table->left, dead);
	for (__u32 i = 0; i < MAX_PORTS && i < table->order_len; i++) {
		__u32 id = table->order[i];
		struct left_record record = { .port = id };
		struct port *port = port_at(id);

		if (!(dead & (1U << (id & 31))) || !port)
			continue;
		record.time_ns = bpf_ktime_get_ns();
		/* It may have come back meanwhile; it was left for want of carrier all the same. */
		record.reason = port_trouble(port) ?: LEFT_NO_CARRIER;
		bpf_ringbuf_output(&left_records, &record, sizeof(record), 0);
		counters->ports_left++;
	}
	return 0;
}

/* First port of table.order that is in `wanted`, else NO_PORT. */
INLINE __u32 first_of(const struct table *table, __u32 wanted)
{
	for (__u32 i = 0; i < MAX_PORTS; i++) {
		__u32 id;

		if (i >= table->order_len)
			break;
		id = table->order[i];
		if (wanted & (1U << (id & 31)))
			return id;
	}
	return NO_PORT;
}

/* The ports of table.order that come before `id`. */
INLINE __u32 before(const struct table *table, __u32 id)
{
	__u32 found = 0;

	for (__u32 i = 0; i < MAX_PORTS; i++) {
		if (i >= table->order_len || table->order[i] == id)
			break;
		found |= 1U << (table->order[i] & 31);
	}
	return found;
}

NOINLINE __u32 failover_around_dead(struct table *table)
{
	__u32 left = table->left;
	__u32 carrier = carrier_now(table);
	__u32 dead = table->members & ~carrier & ~left;
	__u32 id = first_of(table, carrier & ~left);

	if (id != NO_PORT)
		dead &= before(table, id);
	else
		id = first_of(table, carrier);
	/* With no port to go to, none is left. */
	if (id != NO_PORT && dead)
		leave(table, dead);
	return id;
}

/* SPREAD_FAILOVER: the port in use now, for sending and for receiving, else NO_PORT. */
INLINE __u32 failover_port(struct table *table)
{
	__u32 id = first_of(table, table->members & ~table->left);

	if (likely(id != NO_PORT && has_carrier(id)))
		return id;
	return failover_around_dead(table);
}

/* Index of the lowest bit of a set that is not empty: the number of ones below it. Without branches, which would each
 * double what the verifier has to follow. */
INLINE __u32 lowest(__u32 set)
{
	__u32 below = (set & -set) - 1;

	below -= below >> 1 & 0x55555555;
	below = (below & 0x33333333) + (below >> 2 & 0x33333333);
	below = (below + (below >> 4)) & 0x0f0f0f0f;
	return below * 0x01010101 >> 24;
}

/* First port of `usable` in the bucket's own ranking of all ports, else NO_PORT. The ranking is described at
 * ranked_choice in oxbond-core. What it calls `rest` is here the set of places in `order` not yet taken out. */
NOINLINE __u32 ranked_choice(const struct table *table, __u32 bucket, __u32 home, __u32 usable)
{
	__u32 count = table->order_len, rest, choice;

	if (usable & (1U << (home & 31)))
		return home;
	if (!count || count > MAX_PORTS)
		return NO_PORT;
	choice = bucket / count;
	rest = (0xffffffff >> (MAX_PORTS - count)) & ~(1U << (table->place[home & 31] & 31));
	count--;
	for (__u32 i = 0; i < MAX_PORTS && count; i++) {
		__u32 skip = choice % count;
		__u32 tail = rest;
		__u32 id;

		for (__u32 k = 0; k < MAX_PORTS && k < skip; k++)
			tail &= tail - 1;
		id = table->order[lowest(tail) & 31];
		if (usable & (1U << (id & 31)))
			return id;
		rest &= ~(tail & -tail);
		choice /= count;
		count--;
	}
	return NO_PORT;
}

NOINLINE __u32 bucket_around_dead(struct table *table, __u32 bucket)
{
	__u32 left = table->left;
	__u32 carrier = carrier_now(table);
	__u32 usable = carrier & ~left ?: carrier;
	__u32 now, bit;

	if (!usable || bucket >= MAX_BUCKETS)
		return NO_PORT;
	now = table->now[bucket];
	bit = 1U << (now & 31);
	if (!(carrier & bit) && !(left & bit))
		leave(table, bit);
	if (usable & bit)
		return now;
	return ranked_choice(table, bucket, table->home[bucket], usable);
}

/* SPREAD_BUCKETS: the port of a frame with this hash, else NO_PORT. `planned` is set to the port the table names. */
INLINE __u32 bucket_port(struct table *table, __u32 hash, __u32 *planned)
{
	__u32 bucket, now;

	if (!table->bucket_len)
		return NO_PORT;
	bucket = hash % table->bucket_len;
	if (bucket >= MAX_BUCKETS)
		return NO_PORT;
	now = table->now[bucket];
	*planned = now;
	if (likely(!(table->left & (1U << (now & 31))) && has_carrier(now)))
		return now;
	return bucket_around_dead(table, bucket);
}
