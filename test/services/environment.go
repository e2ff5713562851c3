package services

import (
	"fmt"
	"os"
)

// The environment that says where services already run. The run command sets it
// for what it starts.
const (
	envKafka    = "SLUICE_TEST_KAFKA"          // PLAINTEXT, host:port
	envTLS      = "SLUICE_TEST_KAFKA_TLS"      // TLS without a login, host:port
	envSASL     = "SLUICE_TEST_KAFKA_SASL"     // TLS with a login, host:port
	envCA       = "SLUICE_TEST_KAFKA_CA"       // file of the certificate that signed the broker's, PEM
	envUser     = "SLUICE_TEST_KAFKA_USER"     // for the login
	envPassword = "SLUICE_TEST_KAFKA_PASSWORD" // for the login
	envDocker   = "SLUICE_TEST_KAFKA_DOCKER"   // the container, if it is one
	envDynamoDB = "SLUICE_TEST_DYNAMODB"       // http://host:port
	envRegistry = "SLUICE_TEST_REGISTRY"       // base of the Confluent-compatible API
	envServices = "SLUICE_TEST_SERVICES"       // the only way allowed: containers, maven or kfake
)

// kafkaFromEnv returns the Kafka that the environment names, if it names one.
func (m *machine) kafkaFromEnv() (Broker, bool, error) {
	b := Broker{
		Plain: m.getenv(envKafka), TLS: m.getenv(envTLS), SASL: m.getenv(envSASL),
		User: m.getenv(envUser), Password: m.getenv(envPassword), Docker: m.getenv(envDocker), Real: true,
	}
	if b.Plain == "" {
		return Broker{}, false, nil
	}
	if file := m.getenv(envCA); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return Broker{}, true, fmt.Errorf("read %s: %w", envCA, err)
		}
		b.CA = pem
	}
	return b, true, nil
}

// environment is b for a child process; its certificate stands in the file ca.
func (b Broker) environment(ca string) []string {
	env := []string{envKafka + "=" + b.Plain}
	for name, value := range map[string]string{
		envTLS: b.TLS, envSASL: b.SASL, envCA: ca, envUser: b.User, envPassword: b.Password, envDocker: b.Docker,
	} {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}
