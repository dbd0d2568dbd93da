"""A sampler that acknowledges events before Kafka has the candidates."""

from services.sampler import __main__ as sampler
from services.sampler import app
from tests.drills.broken.producers import Early

if __name__ == "__main__":
    app.Producer = Early
    sampler.main()
