// Package archive is the sink that keeps messages as files: Avro object container
// files by data type and hour of the event in UTC, which any Avro tool reads.
//
//	DIR/ethereum_metrics/2026/11/23/18/3-12345-1795460701123.avro
//	                                   │   │         └ when the file was begun, in milliseconds since 1970
//	                                   │   └ offset of its first message
//	                                   └ partition
//
// A file that is still written to ends in .avro.open, so that *.avro are whole.
// Each batch is one block of it, synced to the disk before Write returns. What a
// crash leaves of a block is cut off when the file is next touched. Records are
// the bytes of the typed topic, and a file has one writer's schema.
//
// An hour holds each message ID once, the first that came, for messages of one
// partition; an agent's messages are all of one. To know what an hour holds, its
// files are read when it is first touched. A lock for each type and partition,
// which ends with the process, keeps this true for processes that share the
// directory and pass partitions to one another, also for one that does not know
// yet that it lost a partition; on a network file system it takes one with locks
// that work (flock), and a process that is stopped in the middle of a write holds
// up who comes after it until it goes on or ends. Files may be moved away at any time once they end in .avro.
// What comes again after they were, and after a restart, is written again.
package archive
