# SPDX-License-Identifier: Apache-2.0
"""The contenders, one module for each family; its class `Contender` makes the calls that a worker times.

A framework is imported when a case is prepared, in the worker, and never by the command itself. Modules for other
programs' models import nothing of this package but `base.py`, for they may run in another Python.
"""
