"""Chooses what may be trained on: joins exchanges with feedback and emits candidates. Stands on Faust."""
