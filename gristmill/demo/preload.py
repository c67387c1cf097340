"""Imported once by the process that forks all others, so torch is loaded once, not twelve times."""

import chain.node.service
import coordinator.evaluation.evaluator
import coordinator.main
import miner.main
import miner.training.trainer

__all__ = ["chain", "coordinator", "miner"]
