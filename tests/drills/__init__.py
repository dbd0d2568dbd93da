"""What was answered is there, once, whatever breaks: on Apache Kafka and the ClickHouse engine, under load.

Services are killed 113 times at random moments: the sink 50, the gateway 33, the intake 12, the controller 10 and the
sampler 8; and sinks again in the rebalances. More would not fit into 40 minutes on two cores.
"""
