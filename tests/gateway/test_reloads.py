from prometheus_client import CollectorRegistry, generate_latest

from gateway.reloads import Reloads


def test_results_and_the_last_success_are_shown() -> None:
    """From the start on, also those that never happened."""
    registry, reloads = CollectorRegistry(auto_describe=False), Reloads(5000)
    registry.register(reloads)
    assert 'reloads_total{result="ok"} 0.0' in generate_latest(registry).decode()
    reloads.taken_over(7500)
    reloads.refused()
    text = generate_latest(registry).decode()
    assert 'gateway_config_reloads_total{result="ok"} 1.0' in text
    assert 'gateway_config_reloads_total{result="refused"} 1.0' in text
    assert "gateway_config_last_success_timestamp_seconds 7.5" in text
