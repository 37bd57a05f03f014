"""OpenTelemetry's own conventions, the libraries that follow them, and this project's spans."""

from dataclasses import replace

from spanledger.collector.dialects.dialect import Dialect

SPANLEDGER = Dialect(
    name="spanledger",
    scopes=("spanledger*",),
    cache={"*": "in"},
    reasoning={"*": "in"},
    # The cost on our spans is copied from the provider's answer.
    zero_cost=True,
    # Our metrics repeat our spans.
    meters=(),
)

ANTHROPIC_SDK = Dialect(
    name="anthropic-sdk",
    scopes=("com.anthropic.sdk.*", "com.anthropic.claude-platform*"),
    names={"anthropic.messages.count_tokens": "never", "anthropic.messages.batches.create": "never"},
    # Neither counting tokens nor handing in a batch is billed, whatever the span is called.
    aliases={"class": ("anthropic.message.count_tokens.input_tokens", "anthropic.message.batch.request_count")},
    classes={"*": "never"},
    cache={"anthropic": "in", "bedrock": "in?"},
    reasoning={"*": "in"},
)

MISTRAL_SDK = Dialect(
    name="mistral-sdk",
    scopes=("mistralai_sdk_tracer",),
    cache={"*": "in"},
    reasoning={"*": "in"},
    loses=("cache_write", "reasoning"),
)

GENAI_PYTHON = Dialect(
    name="otel-genai",
    scopes=(
        "opentelemetry.instrumentation.genai.*",
        "opentelemetry.util.genai.*",
        "github.com/open-telemetry/opentelemetry-python-genai*",
    ),
    cache={"openai": "in", "google": "in", "*": "in?"},
    reasoning={"*": "in"},
)

GOOGLE_GENAI = Dialect(
    name="otel-google-genai",
    scopes=("opentelemetry.instrumentation.google_genai",),
    cache={"google": "in"},
    reasoning={"google": "in"},
)

OPENAI_V2 = Dialect(
    name="otel-openai-v2",
    scopes=("opentelemetry.instrumentation.openai_v2",),
    cache={"openai": "in"},
    reasoning={"openai": "in"},
    loses=("cache_read", "cache_write", "reasoning"),
)

BOTOCORE = Dialect(
    name="otel-botocore",
    scopes=("opentelemetry.instrumentation.botocore.bedrock-runtime", "opentelemetry.instrumentation.botocore*"),
    # Converse leaves the cache out of the input and gives it beside; InvokeModel drops it.
    cache={"bedrock": "apart"},
    reasoning={"*": "in"},
    loses=("reasoning",),
    provider="aws.bedrock",
)

#: AWS's distribution instruments LangChain, LlamaIndex, CrewAI and the OpenAI Agents by the conventions of 1.39: no details.
ADOT = Dialect(
    name="aws-distro",
    scopes=("amazon.opentelemetry.distro.instrumentation.*",),
    cache={"openai": "in", "*": "in?"},
    reasoning={"*": "in"},
    loses=("cache_read", "cache_write", "reasoning"),
)

#: Until aws-otel-python-instrumentation#806, first released after 0.18, CrewAI's calls gave the sum over their LLM object.
ADOT_CREWAI_OLD = replace(
    ADOT,
    name="aws-distro-crewai-0.18",
    scopes=("amazon.opentelemetry.distro.instrumentation.crewai",),
    versions=("0.16.", "0.17.", "0.18."),
    cumulative="trace",
)

AZURE_INFERENCE = Dialect(
    name="azure-ai-inference",
    scopes=("azure.core.tracing.ext.opentelemetry_span", "azure.ai.inference*"),
    cache={"openai": "in", "*": "in?"},
    reasoning={"*": "in"},
    loses=("cache_read", "cache_write", "reasoning"),
)

OPENAI_DOTNET = Dialect(
    name="openai-dotnet",
    scopes=("OpenAI.ChatClient", "OpenAI.*"),
    cache={"openai": "in"},
    reasoning={"openai": "in"},
    loses=("cache_read", "cache_write", "reasoning"),
)

#: Whoever else writes `gen_ai.*`: the conventions are taken at their word, and the entry says so.
CONVENTIONS = Dialect(
    name="otel",
    # Who writes such spans by hand copies the provider's answer.
    zero_cost=True,
    markers=(
        "gen_ai.operation.name",
        "gen_ai.system",
        "gen_ai.provider.name",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
    ),
    cache={"*": "in?"},
    reasoning={"*": "in"},
)

ROWS = (
    SPANLEDGER, ANTHROPIC_SDK, MISTRAL_SDK, GENAI_PYTHON, GOOGLE_GENAI, OPENAI_V2, BOTOCORE, ADOT_CREWAI_OLD, ADOT,
    AZURE_INFERENCE, OPENAI_DOTNET,
)  # fmt: skip
