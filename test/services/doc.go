// Package services gives tests a real Kafka, a real DynamoDB and a real schema
// registry. A test asks for one and gets an address:
//
//	broker := services.RealKafka(t)  // the one of this test process, shared
//	own := services.OwnKafka(t)      // one for this test alone, to stop and kill
//	tables := services.DynamoDB(t)
//	schemas := services.Registry(t)
//
// Where they come from is decided once per process and printed to stderr, the
// first of these that works:
//
//	SLUICE_TEST_KAFKA=host:port …   somebody runs it already
//	containers                      a Docker engine and the image, by testcontainers
//	maven                           the same release from Maven Central, with this machine's Java
//	kfake                           Kafka alone, and only for Kafka(t): the embedded broker
//
// SLUICE_TEST_SERVICES=containers, maven or kfake allows only that way. A test
// that gets nothing says SKIP and why, and fails when CI is set.
//
// `go run ./test/services/run -- go test ./...` starts each service once for all
// packages. Without it every test process that asks starts its own, which ends
// with the process, however that ends. Topics, groups and tables are the test's
// own to name: a shared service is shared by packages that run at the same time.
// Since sluice's topics have fixed names, a test of the whole pipeline takes OwnKafka.
package services
