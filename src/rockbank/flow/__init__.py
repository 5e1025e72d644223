"""Two-phase flow of oil and water through a rock, and its exact gradients."""

from rockbank.flow.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.grid import Grid
from rockbank.flow.problem import State
from rockbank.flow.relperm import BrooksCorey, Corey, SaturationTable
from rockbank.flow.rock import Rock
from rockbank.flow.simulate import Options, Result, jacobian, simulate
from rockbank.flow.trajectory import NewtonError, StepReport, Trajectory
from rockbank.flow.wells import Control, Schedule, Well

__all__ = [
    "GRAVITY",
    "BrooksCorey",
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
