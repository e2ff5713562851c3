// Package dynamodb is the sink that keeps messages as items of one DynamoDB
// table: each message once, and for each node and kind the latest one besides.
//
//	pk                            sk
//	node-7#system_metrics         1795460701123#node-7/s.1/42#0     every message, in the order of event time
//	node-7#system_metrics         latest#node-7#cpu                 the latest of each node and kind
//
// An item is a function of its message and the settings alone: no clock, no
// chance, no order of processing. So a batch that comes again, or a replay of all
// history, writes the same items under the same keys, and a latest item is put
// only where none stands that the message does not supersede. What is there after
// all messages were written is the same in whatever order and however often they
// came.
//
// Write puts the history first, then the latest items; inside each the requests
// overlap, and no two in flight hold the same key:
//
//	batch ─► rows ─► last of each key ─► BatchWriteItem ×4 ─► newest of each node ─► PutItem if newer ×8 ─► nil
//	                                        │   ▲                and kind
//	                  UnprocessedItems      └───┘
//	                  one item refused ─► PutItem each, so that it alone is rejected
//
// It does not promise one item for a message that was normalized with different
// event times: those are different facts. Docs: docs/dynamodb.md.
package dynamodb
