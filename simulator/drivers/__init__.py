"""What happens in the cluster unasked: the scenario's happenings, each at its moment."""
