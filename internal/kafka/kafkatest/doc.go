// Package kafkatest gives tests a broker inside the process and ways to read
// what stands in it. It is imported by tests only.
package kafkatest
