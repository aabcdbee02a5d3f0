"""Load, observe the fleet, check the rules, plan, apply: the steps that the command line and the loop share."""
