package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"
)

// The limits of one BatchWriteItem: what DynamoDB documents, and less than its
// 16 MB, in which JSON may or may not count.
const (
	maxBatch      = 25
	maxBatchBytes = 12 << 20
)

// byKey gathers the rows that have the same key, in their order: the last of a
// stack is the one to write. No two stacks have the same key, so that requests
// for them may overtake one another.
func byKey(rows []*row) [][]*row {
	stacks := make([][]*row, 0, len(rows))
	place := make(map[key]int, len(rows))
	for _, r := range rows {
		i, ok := place[r.key]
		if !ok {
			i = len(stacks)
			place[r.key] = i
			stacks = append(stacks, nil)
		}
		stacks[i] = append(stacks[i], r)
	}
	return stacks
}

// newest gathers the rows that want the same latest item, the one that
// supersedes all others last. Of each but the last only what a refusal of the
// last needs is made.
func newest(rows []*row) [][]*row {
	wanted := make([]*row, len(rows))
	for i, r := range rows {
		wanted[i] = &row{index: r.index, m: r.m, key: latestKey(r.m), item: r.item}
	}
	stacks := byKey(wanted)
	for _, stack := range stacks {
		slices.SortStableFunc(stack, func(a, b *row) int {
			switch {
			case !a.m.Supersedes(b.m):
				return -1
			case !b.m.Supersedes(a.m):
				return 1
			}
			return 0
		})
	}
	return stacks
}

// settle puts the last of each stack and, where it is refused, the one before it,
// until every stack has a row written or none left. It returns the refusals.
func settle(stacks [][]*row, put func(tops []*row) ([]refusal, error)) ([]refusal, error) {
	var all []refusal
	for len(stacks) > 0 {
		tops := make([]*row, len(stacks))
		under := make(map[*row][]*row, len(stacks))
		for i, stack := range stacks {
			tops[i] = stack[len(stack)-1]
			under[tops[i]] = stack[:len(stack)-1]
		}
		refused, err := put(tops)
		if err != nil {
			return nil, err
		}
		stacks = stacks[:0]
		for _, no := range refused {
			all = append(all, no)
			if rest := under[no.row]; len(rest) > 0 {
				stacks = append(stacks, rest)
			}
		}
	}
	return all, nil
}

// putHistory puts rows of distinct keys, several requests at once.
func (s *Sink) putHistory(ctx context.Context, rows []*row) ([]refusal, error) {
	var mu sync.Mutex
	var refused []refusal
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(batchesInFlight)
	for _, chunk := range chunks(rows) {
		g.Go(func() error {
			no, err := s.putBatch(ctx, chunk)
			mu.Lock()
			refused = append(refused, no...)
			mu.Unlock()
			return err
		})
	}
	return refused, g.Wait()
}

// chunks parts rows into what fits in one request each.
func chunks(rows []*row) [][]*row {
	var all [][]*row
	from, size, wire := 0, 0, 0
	for i, r := range rows {
		if i > from && (i-from == maxBatch || size+r.size > maxBatchBytes || wire+r.wire > maxBatchBytes) {
			all = append(all, rows[from:i])
			from, size, wire = i, 0, 0
		}
		size += r.size
		wire += r.wire
	}
	if from < len(rows) {
		all = append(all, rows[from:])
	}
	return all
}

// putBatch puts what fits in one request, and again what DynamoDB gives back of
// it, until nothing is left. Where the request is refused for what is in it, it
// puts each item alone.
func (s *Sink) putBatch(ctx context.Context, rows []*row) ([]refusal, error) {
	for try := 1; ; try++ {
		requests := make([]types.WriteRequest, len(rows))
		for i, r := range rows {
			requests[i].PutRequest = &types.PutRequest{Item: r.item}
		}
		var out *dynamodb.BatchWriteItemOutput
		err := s.call(ctx, "BatchWriteItem", func(ctx context.Context) (err error) {
			out, err = s.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
				RequestItems: map[string][]types.WriteRequest{s.config.Table: requests},
			})
			return err
		})
		if invalid(err) {
			return s.putEach(ctx, rows)
		}
		if err != nil {
			return nil, err
		}
		left, err := remaining(rows, out.UnprocessedItems)
		if len(left) == 0 || err != nil {
			return nil, err
		}
		s.meters.unprocessed.Add(float64(len(left)))
		if len(left) < len(rows) {
			try = 1 // it moves: wait little
		}
		rows = left
		if err := s.pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

// remaining returns the rows that DynamoDB gave back.
func remaining(rows []*row, unprocessed map[string][]types.WriteRequest) ([]*row, error) {
	n, back := 0, map[key]bool{}
	for _, requests := range unprocessed {
		for _, r := range requests {
			n++
			if r.PutRequest != nil {
				back[keyOf(r.PutRequest.Item)] = true
			}
		}
	}
	var left []*row
	for _, r := range rows {
		if back[r.key] {
			left = append(left, r)
		}
	}
	if len(left) != n {
		// What was not recognized must not pass for written.
		return nil, fmt.Errorf("BatchWriteItem gave back %d items, of which %d were sent", n, len(left))
	}
	return left, nil
}

func keyOf(it item) key {
	pk, _ := it[attrPK].(*types.AttributeValueMemberS)
	sk, _ := it[attrSK].(*types.AttributeValueMemberS)
	if pk == nil || sk == nil {
		return key{}
	}
	return key{pk.Value, sk.Value}
}

// putEach puts rows one by one, to find those that DynamoDB refuses. It first
// makes sure that the fault is theirs: were the table another than at the start,
// it would refuse every message there is.
func (s *Sink) putEach(ctx context.Context, rows []*row) ([]refusal, error) {
	if err := s.verify(ctx); err != nil {
		return nil, err
	}
	var refused []refusal
	for _, r := range rows {
		err := s.put(ctx, &dynamodb.PutItemInput{TableName: &s.config.Table, Item: r.item})
		switch {
		case invalid(err):
			refused = append(refused, refuse(r, err))
		case err != nil:
			return nil, err
		}
	}
	return refused, nil
}

// putLatest puts the latest items of rows, which have distinct keys, where they
// are not older than what stands there.
func (s *Sink) putLatest(ctx context.Context, rows []*row) ([]refusal, error) {
	var mu sync.Mutex
	var refused []refusal
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(putsInFlight)
	for _, r := range rows {
		g.Go(func() error {
			it := latestOf(r).item
			err := s.put(ctx, &dynamodb.PutItemInput{
				TableName: &s.config.Table,
				Item:      it,
				// Equal is the same message again, or a correction of it.
				ConditionExpression:       aws.String("attribute_not_exists(#v) OR #v <= :v"),
				ExpressionAttributeNames:  map[string]string{"#v": attrVersion},
				ExpressionAttributeValues: item{":v": it[attrVersion]},
			})
			switch {
			case errors.As(err, new(*types.ConditionalCheckFailedException)):
				s.meters.misses.Inc()
				return nil
			case invalid(err):
				if err := s.verify(ctx); err != nil {
					return err
				}
				mu.Lock()
				refused = append(refused, refuse(r, err))
				mu.Unlock()
				return nil
			}
			return err
		})
	}
	return refused, g.Wait()
}

func (s *Sink) put(ctx context.Context, in *dynamodb.PutItemInput) error {
	return s.call(ctx, "PutItem", func(ctx context.Context) error {
		_, err := s.client.PutItem(ctx, in)
		return err
	})
}
