/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The few words of the BPF dialect of C that the programs use, so that clang and linux-libc-dev suffice to build. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define offsetof(type, member) __builtin_offsetof(type, member)

/* Fields reached through these types are found at load time in the running kernel's BTF (CO-RE). */
#define KERNEL_TYPE __attribute__((preserve_access_index))

/* Members of a map definition, as the loader reads them from BTF. */
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, type) type *name

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*const bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const bpf_skb_pull_data)(struct __sk_buff *skb, __u32 len) = (void *)BPF_FUNC_skb_pull_data;
static long (*const bpf_skb_change_tail)(struct __sk_buff *skb, __u32 len,
					 __u64 flags) = (void *)BPF_FUNC_skb_change_tail;
static long (*const bpf_skb_load_bytes)(const struct __sk_buff *skb, __u32 offset, void *to,
					__u32 len) = (void *)BPF_FUNC_skb_load_bytes;
static long (*const bpf_skb_vlan_push)(struct __sk_buff *skb, __u16 protocol,
				       __u16 tci) = (void *)BPF_FUNC_skb_vlan_push;
static long (*const bpf_probe_read_kernel)(void *dst, __u32 size,
					   const void *unsafe_ptr) = (void *)BPF_FUNC_probe_read_kernel;
static long (*const bpf_ringbuf_output)(void *ringbuf, void *data, __u64 size,
					__u64 flags) = (void *)BPF_FUNC_ringbuf_output;
