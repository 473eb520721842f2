"""Is a run a function of its scenario? The same seeds under conditions that must not matter.

No single condition shows everything: a hash seed shows the order of sets, another allocator the
order of addresses, a second run in one process what a first one left behind, an eager garbage
collector what finalisers do. The guard does not wait for a difference: within a run it refuses
clocks, chance without a seed, threads and addresses at the very call. Planted sources, one of each
sort, show that each of them is caught.
"""
