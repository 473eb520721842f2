"""Campaigns: many seeds over many processes, counted once each, and what they covered.

A seed is a function of nothing but its number, so seeds may run anywhere and in any order. Workers
hand their results back; only the campaign's own process writes, one line a seed, appended to a log
(`results*.jsonl`). Whatever happens to a worker, a seed is either in the log or still to be done.
"""
