// Package rest takes frames by POST /data, one for each request, for agents that
// hold no connection: an envelope or an array of them as JSON or MessagePack, or
// one a line as NDJSON.
//
// An answer of 200 means that Kafka has the frame. 4xx means that it does not and
// never will: something is wrong with the request, which the body of the answer
// names. 503 asks for the same again later, with the same Idempotency-Key, which
// makes it the same frame to everyone downstream.
//
// It looks at envelopes only. What is wrong inside of data gets 200, and becomes a
// dead letter behind Kafka.
package rest
