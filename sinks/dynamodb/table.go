package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/sinks"
)

// wantedKeys is the key schema of the table, as keysOf writes it.
const wantedKeys = "pk (S, HASH) and sk (S, RANGE)"

// ensure makes the table where it is absent, waits until it can be written to,
// checks its keys and sees to its expiry.
func (s *Sink) ensure(ctx context.Context) error {
	d, err := s.describe(ctx)
	if errors.As(err, new(*types.ResourceNotFoundException)) && s.config.Create {
		if err := s.create(ctx); err != nil {
			return err
		}
		d, err = s.describe(ctx)
	}
	// Where one just made the table, another read may not find it yet.
	ctx2, cancel := context.WithTimeout(ctx, s.activation)
	defer cancel()
	for {
		switch {
		case errors.As(err, new(*types.ResourceNotFoundException)) && s.config.Create:
		case err != nil:
			return err
		case d.TableStatus == types.TableStatusCreating:
		default:
			return s.check(ctx, d)
		}
		if sleep(ctx2, s.poll) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("table %s is not ready after %s", s.config.Table, s.activation)
		}
		d, err = s.describe(ctx)
	}
}

// check reports what hinders writing to a table that stands.
func (s *Sink) check(ctx context.Context, d *types.TableDescription) error {
	if err := s.checkKeys(d); err != nil {
		return fmt.Errorf("%w: %w", sinks.ErrUnusable, err)
	}
	switch d.TableStatus {
	case types.TableStatusActive, types.TableStatusUpdating:
	default:
		return fmt.Errorf("table %s is %s", s.config.Table, d.TableStatus)
	}
	if s.config.TTL > 0 {
		return s.expire(ctx)
	}
	return nil
}

func (s *Sink) checkKeys(d *types.TableDescription) error {
	if got := keysOf(d); got != wantedKeys {
		return fmt.Errorf("table %s has the key %s, want %s; set table to another name", s.config.Table, got, wantedKeys)
	}
	return nil
}

// keysOf returns the key schema of a table in a readable form.
func keysOf(d *types.TableDescription) string {
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range d.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	schema := slices.Clone(d.KeySchema)
	slices.SortFunc(schema, func(a, b types.KeySchemaElement) int { return strings.Compare(string(a.KeyType), string(b.KeyType)) })
	var parts []string
	for _, k := range schema {
		name := aws.ToString(k.AttributeName)
		parts = append(parts, fmt.Sprintf("%s (%s, %s)", name, kinds[name], k.KeyType))
	}
	return strings.Join(parts, " and ")
}

// verify makes sure that the table still is what it was when the sink opened.
func (s *Sink) verify(ctx context.Context) error {
	d, err := s.describe(ctx)
	if err != nil {
		return err
	}
	return s.checkKeys(d)
}

func (s *Sink) describe(ctx context.Context) (*types.TableDescription, error) {
	var out *dynamodb.DescribeTableOutput
	err := s.call(ctx, "DescribeTable", func(ctx context.Context) (err error) {
		out, err = s.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.config.Table})
		return err
	})
	if err != nil {
		return nil, err
	}
	if out.Table == nil {
		return nil, fmt.Errorf("DescribeTable on table %s: an answer without a table; check endpoint", s.config.Table)
	}
	return out.Table, nil
}

// create makes the table. Another instance may do so at the same time.
func (s *Sink) create(ctx context.Context) error {
	err := s.call(ctx, "CreateTable", func(ctx context.Context) error {
		_, err := s.client.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName:   &s.config.Table,
			BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String(attrPK), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String(attrSK), AttributeType: types.ScalarAttributeTypeS},
			},
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String(attrPK), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String(attrSK), KeyType: types.KeyTypeRange},
			},
		})
		return err
	})
	switch {
	case errors.As(err, new(*types.ResourceInUseException)):
		return nil
	case err != nil:
		return err
	}
	s.log.Info("table created", "table", s.config.Table)
	return nil
}

// expire turns the table's expiry on, or, where the table is not the sink's to
// change, says that it is off.
func (s *Sink) expire(ctx context.Context) error {
	on, err := s.expires(ctx)
	if err != nil || on {
		return err
	}
	if !s.config.Create {
		s.log.Warn("expiry of the table is off: items keep their time of expiry and stay", "table", s.config.Table)
		return nil
	}
	err = s.call(ctx, "UpdateTimeToLive", func(ctx context.Context) error {
		_, err := s.client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName:               &s.config.Table,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(attrExpires), Enabled: aws.Bool(true)},
		})
		return err
	})
	if err == nil {
		return nil
	}
	// Another instance may have been quicker, which DynamoDB calls invalid.
	if on, again := s.expires(ctx); again == nil && on {
		return nil
	}
	return err
}

// expires reports whether items expire by the attribute that the sink sets.
func (s *Sink) expires(ctx context.Context) (bool, error) {
	var out *dynamodb.DescribeTimeToLiveOutput
	err := s.call(ctx, "DescribeTimeToLive", func(ctx context.Context) (err error) {
		out, err = s.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &s.config.Table})
		return err
	})
	if err != nil {
		return false, err
	}
	d := out.TimeToLiveDescription
	if d == nil || d.TimeToLiveStatus != types.TimeToLiveStatusEnabled && d.TimeToLiveStatus != types.TimeToLiveStatusEnabling {
		return false, nil
	}
	if name := aws.ToString(d.AttributeName); name != attrExpires {
		return false, fmt.Errorf("%w: table %s expires items by %s, want %s; set ttl to 0 or table to another name", sinks.ErrUnusable, s.config.Table, name, attrExpires)
	}
	return true, nil
}
