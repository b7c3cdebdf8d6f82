"""Check of further provider parameters: which a teacher may be given, and why the others are refused.

The budget reserves the price of one answer for a request: all prompt tokens, and ``max_tokens`` of answer, at the list
price. A parameter that could make the bill larger than that, or send the request elsewhere, is refused. Parameters that
only steer the text, such as ``reasoning_effort`` or ``top_k``, are allowed: providers count the tokens of reasoning
within ``max_tokens``.
"""

from __future__ import annotations

import re

_TEACHERS = "the teacher sets it itself"
_LONGER = (
    "an answer could be longer than max_tokens, which is what the budget reserves; set max_tokens of the reflection"
)
_SEVERAL = "the provider would bill several answers for one request"
_WHOLE = "every answer has to arrive complete, in one response"
_AGAIN = "retries are counted and paid for by the run itself; see limits.attempts"
_RAISED = "the provider may bill more than the list price, from which the budget reserves"
_BESIDES = "the provider bills it besides the tokens of prompt and answer"
_ELSEWHERE = "it can send a request to another model or address than the one that is named"
_PRICES = "prices are given as input_price and output_price"
_SWITCHES = "it changes how litellm itself works, which the teacher relies on"

_REFUSED: dict[str, tuple[str, ...]] = {
    _TEACHERS: (
        *("model", "messages", "prompt", "system", "temperature", "top_p", "max_tokens", "seed", "response_format"),
        *("timeout", "request_timeout", "force_timeout", "stream_timeout", "timeout_by_service_tier"),
        *("stream_timeout_by_service_tier", "client_side_timeout", "api_base", "litellm_system_prompt"),
        *("prompt_id", "prompt_label", "prompt_variables", "prompt_version", "prompt_environment"),
        *("custom_prompt_dict", "final_prompt_value", "roles", "user_continue_message", "assistant_continue_message"),
    ),
    _LONGER: (
        *("max_completion_tokens", "max_output_tokens", "max_new_tokens", "max_tokens_to_sample", "max_gen_len"),
        *("max_length", "max_token_count", "num_predict", "n_predict", "tokens_to_generate", "thinking"),
        *("thinking_budget", "budget_tokens", "max_thinking_tokens", "enable_thinking", "max_agentic_loops"),
        "context_management",
    ),
    _SEVERAL: (
        *(
            "n",
            "best_of",
            "candidate_count",
            "num_results",
            "num_generations",
            "num_return_sequences",
            "num_completions",
        ),
        *("num_samples", "n_completions", "silent_model", "echo"),
    ),
    _WHOLE: ("stream", "stream_options", "stream_response", "stream_chunk_size", "background", "complete_response"),
    _AGAIN: ("max_retries", "num_retries", "retry_policy", "retry_strategy", "attempted_targets"),
    _RAISED: (
        *("service_tier", "speed", "performance_config", "performance_config_latency", "latency", "inference_geo"),
        *("data_residency", "cache_control", "cache_control_injection_points", "enable_prompt_caching"),
    ),
    _BESIDES: (
        *(
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "functions",
            "function_call",
            "plugins",
            "modalities",
            "audio",
        ),
        *("prediction", "web_search", "web_search_options", "enable_search", "search_options", "search_parameters"),
        *("search_context_size", "search_tool_name", "include_server_side_tool_invocations", "code_interpreter"),
        *("guardrails", "guardrail_config", "cached_content", "return_images", "return_related_questions"),
    ),
    _ELSEWHERE: (
        *("base_url", "client", "use_client", "shared_session", "custom_llm_provider", "use_litellm_proxy"),
        *("use_in_pass_through", "fallbacks", "default_fallbacks", "max_fallbacks", "fallback_depth"),
        *(
            "context_window_fallback_dict",
            "content_policy_fallbacks",
            "model_list",
            "model_alias_map",
            "models",
            "route",
        ),
        *(
            "routing_strategy",
            "fastest_response",
            "azure",
            "mock_response",
            "mock_timeout",
            "base_model",
            "model_config",
        ),
        *("extra_headers", "headers", "provider_specific_header", "proxy_server_request", "extra_body", "ssl_verify"),
        *("hf_model_name", "use_chat_completions_api", "text_completion", "use_xai_oauth", "litellm_credential_name"),
        *("model_info", "transforms"),
    ),
    _SWITCHES: (
        *("cache", "caching", "caching_groups", "cache_key", "preset_cache_key", "ttl", "callbacks", "drop_params"),
        *("additional_drop_params", "allowed_openai_params", "self", "id", "order", "weight", "rpm", "tpm", "itpm"),
        *("otpm", "max_budget", "budget_duration", "max_parallel_requests", "cooldown_time", "rust", "verbose"),
        *("acompletion", "aembedding", "aimg_generation", "allm_passthrough_route", "async_call", "atext_completion"),
        *("logger_fn", "no-log", "turn_off_message_logging", "log_client_error_tracebacks", "completion_call_id"),
        *("configurable_clientside_auth_params", "enable_json_schema_validation", "enable_tag_filtering"),
        *("ensure_alternating_roles", "supports_system_message", "merge_reasoning_content_in_choices"),
        *("allow_client_keepalive_override", "keepalive_seconds", "max_file_size_mb", "model_file_id_mapping"),
        *("output_vector_size", "provider_affinity_header", "tag_regex", "bos_token", "eos_token"),
        *("disable_add_transform_inline_image_block", "secret_fields", "fireworks_forward_user_id"),
    ),
}
_WHY = {re.sub("[^a-z0-9]", "", name.lower()): reason for reason, names in _REFUSED.items() for name in names}

_FAMILIES = (
    (re.compile(r"cost|pricing|multiplier"), _PRICES),
    (re.compile(r"router|_urls?$|_host$|_endpoint$"), _ELSEWHERE),
    (
        re.compile(r"^(_|litellm|lang(fuse|smith)|arize|weave|wandb|signoz|posthog|humanloop|newrelic|(dd|gcs|s3)_)"),
        _SWITCHES,
    ),
)
"""Patterns for groups of litellm's own parameters, of which there are too many to list."""

_HARMLESS = {
    "servicetier": ("default", "flex", "standard", "standard_only"),
    "enablethinking": (False,),
    "enablesearch": (False,),
    "stream": (False,),
    "echo": (False,),
}
"""Values with which a listed parameter causes no further cost."""


def refusal(name: str, value: object) -> str | None:
    """Return why a parameter cannot be given; ``None`` if it can. Spelling (``maxOutputTokens``) does not matter."""
    plain = re.sub("[^a-z0-9]", "", name.lower())
    if value in _HARMLESS.get(plain, ()):
        return None
    return _WHY.get(plain) or next((why for group, why in _FAMILIES if group.search(name.lower())), None)
