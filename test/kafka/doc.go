// Package kafka holds the tests of internal/kafka that only a real Kafka can
// answer: logins, TLS, compression, and how a broker's absence is told. They take
// the broker from test/services.
package kafka
