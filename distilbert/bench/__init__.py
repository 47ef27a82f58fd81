# SPDX-License-Identifier: Apache-2.0
"""Side by side with what a user would pick instead: who is how fast on this machine. The command is `distilbert bench`.

Each contender runs in a process of its own, so that the thread pools of the frameworks leave one another alone, and
they take turns, so that a machine which slows down slows all of them. Nothing is imported here: workers of other
Pythons, which have only a contender's own packages, import this package too.
"""
