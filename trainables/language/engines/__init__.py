"""Engines that take optimiser steps for a language model: torch and DeepSpeed."""
