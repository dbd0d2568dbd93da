"""The controller: snapshots, runs, verdicts, promotions. One active instance closes the loop."""
