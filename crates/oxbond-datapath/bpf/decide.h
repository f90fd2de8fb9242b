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
APART __u32 carrier_now(const struct table *table)
{
	__u32 found = 0;

	if (!table)
		return 0;
	for (__u32 i = 0; i < MAX_PORTS && i < table->order_len; i++) {
		__u32 id = table->order[i];

		if (has_carrier(id))
			found |= 1U << (id & 31);
	}
	return found;
}

/* Latch the ports of `dead`, and tell the daemon of those that are newly so. */
APART int leave(struct table *table, __u32 dead)
{
	struct bond_counters *counters = counters_of_bond();

	if (!table || !counters)
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

/* The active port, when the first that has not been left has no carrier; else NO_PORT. */
APART __u32 failover_around_dead(struct table *table)
{
	__u32 left, carrier, dead, id;

	if (!table)
		return NO_PORT;
	left = table->left;
	carrier = carrier_now(table);
	dead = table->members & ~carrier & ~left;
	id = first_of(table, carrier & ~left);
	if (id != NO_PORT)
		dead &= before(table, id);
	else
		id = first_of(table, carrier);
	/* With no port to go to, none is left. */
	if (id != NO_PORT && dead)
		leave(table, dead);
	return id;
}

/* The active port: the one in use now, for sending and for receiving, else NO_PORT. */
APART __u32 active_port(struct table *table)
{
	__u32 id;

	if (!table)
		return NO_PORT;
	id = first_of(table, table->members & ~table->left);
	return likely(has_carrier(id)) ? id : failover_around_dead(table);
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
APART __u32 ranked_choice(const struct table *table, __u32 bucket, __u32 usable)
{
	__u32 count, home, spare, rest, choice;

	if (!table || bucket >= MAX_BUCKETS)
		return NO_PORT;
	count = table->order_len;
	home = table->home[bucket];
	if (usable & (1U << (home & 31)))
		return home;
	spare = table->spare[bucket];
	if (usable & (1U << (spare & 31)))
		return spare;
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

/* The port of a bucket, when the one it is on is not usable; else NO_PORT. */
APART __u32 bucket_around_dead(struct table *table, __u32 bucket)
{
	__u32 left, carrier, usable, now, bit;

	if (!table || bucket >= MAX_BUCKETS)
		return NO_PORT;
	left = table->left;
	now = table->now[bucket];
	bit = 1U << (now & 31);
	if (left & bit) {
		/* Known already, so that this is the way of every frame: without a look at every port, if that will do. */
		__u32 home = table->home[bucket], spare = table->spare[bucket];

		if (!(left & (1U << (home & 31))) && has_carrier(home))
			return home;
		if (!(left & (1U << (spare & 31))) && has_carrier(spare))
			return spare;
	}
	carrier = carrier_now(table);
	usable = carrier & ~left ?: carrier;
	if (!usable)
		return NO_PORT;
	if (!(carrier & bit) && !(left & bit))
		leave(table, bit);
	if (usable & bit)
		return now;
	return ranked_choice(table, bucket, usable);
}

/* The bucket of a key; MAX_BUCKETS when the table has none. */
INLINE __u32 bucket_of(const struct table *table, __u32 key)
{
	__u32 len = table->bucket_len;

	return len ? key % len : MAX_BUCKETS;
}

/* `id` if it is a port of the table and usable, else NO_PORT. If it is dead and another port of the table is not, it is
 * left. */
APART __u32 if_usable(struct table *table, __u32 id)
{
	__u32 bit = 1U << (id & 31);

	if (!table || !(table->members & ~table->left & bit))
		return NO_PORT;
	if (likely(has_carrier(id)))
		return id;
	if (carrier_now(table))
		leave(table, bit);
	return NO_PORT;
}

/* The ports for a frame that goes to every port: the usable ones. The others are left, if there is a usable one. */
APART __u32 usable_ports(struct table *table)
{
	__u32 left, carrier, usable, dead;

	if (!table)
		return 0;
	left = table->left;
	carrier = carrier_now(table);
	usable = carrier & ~left ?: carrier;
	dead = table->members & ~carrier & ~left;
	if (usable && dead)
		leave(table, dead);
	return usable;
}
