"""Ranks of a distributed engine as processes of this machine."""

import os
import sys
from collections.abc import Callable

import torch.multiprocessing as mp


def spawn(function: Callable[..., None], *args: object, ranks: int) -> None:
    """Call `function(rank, ranks, *args)` in `ranks` fresh processes, and wait for them.

    Raises:
        mp.ProcessRaisedException: a rank raised.
        mp.ProcessExitedException: a rank died.
    """
    mp.spawn(_rank, args=(ranks, function, args), nprocs=ranks)


def _rank(rank: int, ranks: int, function: Callable[..., None], args: tuple) -> None:
    """Leave without ending the interpreter.

    A gloo thread that lets go of a tensor while Python 3.11 ends is unwound through a destructor, which aborts the
    process: ZeRO 3's gathers did so in every second run, after all work was done.
    """
    function(rank, ranks, *args)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
