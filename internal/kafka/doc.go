// Package kafka is all that sluice says to Kafka, and the only importer of
// franz-go: clients, topics, consumer groups, transactions, the form of the
// records, and the embedded broker of `up`.
//
// What each type promises:
//   - Producer: acks=all and idempotent; TryProduce never blocks, and its promise
//     is called once, in order for one partition.
//   - Follow: every record from a start position on, without a group.
//   - Group: at least once; an offset is committed only after its batch was
//     handled, and never for a partition that was taken away meanwhile.
//   - Session: consume, transform, produce in transactions: exactly once per
//     record on a real Kafka, at least once on the embedded broker, which loses
//     part of that promise when it is killed.
//   - Registry: a schema registry beside Kafka; an ID that it gave is the schema's
//     for good.
//   - Broker: the embedded broker; what it acknowledged survives kill -9 of the
//     process, not the loss of power.
//
// All readers are read_committed, and all keep transaction markers in sight, so
// that a position is exact and lag reaches zero behind a transactional writer.
package kafka
