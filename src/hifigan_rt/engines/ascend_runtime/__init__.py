"""Ascend's runtime behind engine `ascend`: its worker process, devices, gears and failures."""
