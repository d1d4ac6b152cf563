"""Regression verdicts on optimization speed: what a change of the sources does to iterations, errors and time.

Two channels. The deterministic one (`outcomes`) holds losses, iterations to targets, Fisher errors and counted
operations, which repeat to the last bit; the clock (`clock`) holds seconds, as ratios within interleaved rounds.
Training is done by a program of its own (`worker`), a fresh process for each set of sources (`sides`), whose records
are compared as they come: no store is written.
"""
