"""Two-phase flow of oil and water through a rock, and its exact gradients."""

from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey, SaturationTable
from rockbank.flow.equations.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.trajectory import NewtonError, StepReport, Trajectory
from rockbank.flow.equations.wells import Control, Schedule, Well
from rockbank.flow.simulate import CellStates, Options, Result, jacobian, simulate

__all__ = [
    "GRAVITY",
    "BrooksCorey",
    "CellStates",
    "Control",
    "Corey",
    "Fluid",
    "Grid",
    "NewtonError",
    "Options",
    "Phase",
    "Result",
    "Rock",
    "SaturationTable",
    "Schedule",
    "State",
    "StepReport",
    "Trajectory",
    "Well",
    "jacobian",
    "simulate",
]
