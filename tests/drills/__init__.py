"""What was answered is there, once, whatever breaks: on Apache Kafka and the ClickHouse engine, under load.

Services are killed 189 times at random moments: the sink 103, the gateway 56, the intake 12, the controller 10 and the
sampler 8; and sinks again in the rebalances. More would not fit into 40 minutes on two cores.

Beside each drill stands its counterpart: the same fault, and a build in `broken` that is wrong in what the drill looks
for. What it loses or doubles the audit must tell, and so must the ids that callers were given; where no exchange is at
stake (requests unread, candidates, decisions, memory) the drill's own count must.
"""
