"""Metrics: promised names, labels, values; apart for each instance."""

from __future__ import annotations

from rkyc.telemetry.metrics import LaneDepth, Metrics

PROMISED = [
    "pipeline_step_duration_seconds",
    "pipeline_failures_total",
    "jobs_total",
    "retries_total",
    "lease_lost_total",
    "recovered_total",
    "event_loop_lag_seconds",
    "sse_clients",
    "queue_depth",
    "queue_oldest_seconds",
    "dlq_depth",
    "archive_depth",
    "dlq_reprocessed_total",
    "dlq_expired_total",
    "llm_tokens_total",
    "llm_cost_usd_total",
    "evidence_failed_total",
    "signals_dropped_total",
    "process_resident_memory_bytes",
]


def lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


def test_every_promised_metric_is_there_with_help_before_anything_happened() -> None:
    text = lines(Metrics())
    for name in PROMISED:
        assert any(line.startswith(f"# HELP {name} ") and len(line.split()) > 3 for line in text), name
        assert any(line.startswith(f"# TYPE {name} ") for line in text), name


def test_what_happened_is_counted_under_its_labels() -> None:
    metrics = Metrics()
    metrics.step_finished("doc_ingest", 0.3)
    metrics.step_finished("doc_ingest", 0.4)
    metrics.step_failed("insight", "LLM_TIMEOUT")
    metrics.step_retried("insight", "LLM_TIMEOUT")
    metrics.job_ended("kyc", "completed")
    metrics.lease_lost()
    metrics.recovered(3)
    metrics.loop_failed("reclaim")
    metrics.group_committed(20)
    metrics.sse_opened()
    metrics.sse_opened()
    metrics.sse_closed()
    metrics.set_loop_lag(0.25)
    metrics.set_tasks_running(9)
    metrics.llm_answered("claude", tokens_in=10, tokens_out=5, cost_usd=0.5)
    metrics.evidence_failed()
    metrics.signals_dropped("quote_missing", 2)
    text = lines(metrics)
    for line in (
        'pipeline_step_duration_seconds_count{step="doc_ingest"} 2.0',
        'pipeline_step_duration_seconds_bucket{le="0.25",step="doc_ingest"} 0.0',
        'pipeline_step_duration_seconds_bucket{le="0.5",step="doc_ingest"} 2.0',
        'pipeline_failures_total{error_type="LLM_TIMEOUT",step="insight"} 1.0',
        'retries_total{error_type="LLM_TIMEOUT",step="insight"} 1.0',
        'jobs_total{pipeline="kyc",status="completed"} 1.0',
        "lease_lost_total 1.0",
        "recovered_total 3.0",
        'loop_failures_total{loop="reclaim"} 1.0',
        "commit_group_rows_sum 20.0",
        "sse_clients 1.0",
        "event_loop_lag_seconds 0.25",
        "tasks_running 9.0",
        'llm_tokens_total{direction="in",model="claude"} 10.0',
        'llm_tokens_total{direction="out",model="claude"} 5.0',
        'llm_cost_usd_total{model="claude"} 0.5',
        "evidence_failed_total 1.0",
        'signals_dropped_total{reason="quote_missing"} 2.0',
    ):
        assert line in text


def test_lane_that_is_gone_vanishes_from_the_queue() -> None:
    metrics = Metrics()
    metrics.set_queue([LaneDepth("high", 3, 1.5), LaneDepth("low", 1, 60.0)], {"kyc": 2})
    metrics.set_queue([LaneDepth("high", 4, 2.5)], {})
    text = lines(metrics)
    assert 'queue_depth{lane="high"} 4.0' in text
    assert 'queue_oldest_seconds{lane="high"} 2.5' in text
    assert not any('lane="low"' in line or line.startswith("dlq_depth{") for line in text)


def test_two_instances_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.job_ended("kyc", "failed")
    assert 'jobs_total{pipeline="kyc",status="failed"} 1.0' in lines(one)
    assert not any(line.startswith("jobs_total{") for line in lines(other))
