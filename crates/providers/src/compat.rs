//! The vendors that speak chat completions, one row each. A new one is a new row.
//!
//! Source of the facts: the vendors' documentation and recorded traffic; they age fast, so
//! they are data here and no branch anywhere asks for a vendor by name.

use crate::head::Auth;

/// One vendor.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) base_url: Option<&'static str>,
    pub(crate) env_key: Option<&'static str>,
    pub(crate) auth: Auth,
    pub(crate) quirks: Quirks,
}

/// In what the vendors differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quirks {
    /// `max_completion_tokens` in place of `max_tokens`.
    pub(crate) completion_limit: bool,
    /// Takes `stream_options.include_usage`.
    pub(crate) include_usage: bool,
    /// Knows the role `developer`.
    pub(crate) developer: bool,
    /// Wants system text in front only.
    pub(crate) system_first: bool,
    /// Takes tools at all.
    pub(crate) tools: bool,
    /// How it takes `tool_choice`.
    pub(crate) choice: ChoiceStyle,
    /// Takes `parallel_tool_calls`.
    pub(crate) parallel: bool,
    /// Takes `strict` in a function.
    pub(crate) strict: bool,
    /// Text in several parts is sent as one string.
    pub(crate) joins_text: bool,
    /// Takes images.
    pub(crate) images: bool,
    /// Takes files and audio as parts.
    pub(crate) files: bool,
    /// Call ids must be nine letters or digits.
    pub(crate) short_ids: bool,
    /// A user message may not follow a tool message.
    pub(crate) filler_after_tool: bool,
    /// Which reasoning goes back to it.
    pub(crate) replay: Replay,
    /// How it is told how hard to think.
    pub(crate) effort: Effort,
    /// Takes `response_format` of type `json_schema`.
    pub(crate) json_schema: bool,
    /// Takes `strict` in such a schema.
    pub(crate) strict_schema: bool,
    /// A `response_format` leaves the model free to call its tools. Servers that hold the model
    /// to a grammar let it write nothing else; others refuse the two together.
    pub(crate) format_beside_tools: bool,
    /// Takes `logprobs`.
    pub(crate) logprobs: bool,
    /// Takes `user`, `service_tier`, `prompt_cache_key`, … by their OpenAI names.
    pub(crate) extras: &'static [&'static str],
}

/// How a vendor takes `tool_choice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChoiceStyle {
    /// As OpenAI.
    Full,
    /// `any` in place of `required`, and no named function.
    Any,
    /// `required`, but a named function is ignored or refused.
    Unnamed,
    /// Nothing but `auto`.
    AutoOnly,
}

/// Which reasoning a vendor wants back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// None.
    Never,
    /// `reasoning_content` on the assistant messages of an open tool loop; the text stands
    /// where a message has none.
    Content(&'static str),
    /// `reasoning_details`, unchanged.
    Details,
}

/// How a vendor is told how hard to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// It is not.
    Ignored,
    /// `reasoning_effort: "low"`.
    Word,
    /// `reasoning: {"effort": "low"}`.
    Object,
    /// `thinking: {"type": "enabled"}`.
    Thinking,
    /// `enable_thinking: true`.
    Enable,
}

/// The profile of a server of which nothing is known.
const GENERIC: Quirks = Quirks {
    completion_limit: false,
    include_usage: true,
    developer: false,
    system_first: false,
    tools: true,
    choice: ChoiceStyle::Full,
    parallel: true,
    strict: false,
    joins_text: true,
    images: true,
    files: false,
    short_ids: false,
    filler_after_tool: false,
    replay: Replay::Never,
    effort: Effort::Word,
    json_schema: true,
    strict_schema: true,
    format_beside_tools: true,
    logprobs: true,
    extras: &[],
};

const OPENAI: Quirks = Quirks {
    completion_limit: true,
    joins_text: false,
    developer: true,
    strict: true,
    files: true,
    extras: &[
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "service_tier",
        "verbosity",
    ],
    ..GENERIC
};

/// A server on the operator's own machine: its templates want system text in front, and a
/// named tool choice is ignored in silence.
const LOCAL: Quirks = Quirks {
    system_first: true,
    format_beside_tools: false,
    choice: ChoiceStyle::Unnamed,
    ..GENERIC
};

const fn vendor(
    name: &'static str,
    base_url: &'static str,
    env_key: &'static str,
    quirks: Quirks,
) -> Row {
    Row {
        name,
        base_url: Some(base_url),
        env_key: Some(env_key),
        auth: Auth::Bearer,
        quirks,
    }
}

const fn local(name: &'static str, base_url: Option<&'static str>, quirks: Quirks) -> Row {
    Row {
        name,
        base_url,
        env_key: None,
        auth: Auth::OptionalBearer,
        quirks,
    }
}

/// All vendors; the names are Portkey's where it has one.
pub(crate) static ROWS: &[Row] = &[
    vendor(
        "openai-chat",
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        OPENAI,
    ),
    local("openai-compatible", None, GENERIC),
    local(
        "ollama",
        Some("http://localhost:11434/v1"),
        Quirks {
            choice: ChoiceStyle::AutoOnly,
            parallel: false,
            strict_schema: false,
            logprobs: false,
            ..LOCAL
        },
    ),
    local(
        "llama-cpp",
        Some("http://localhost:8080/v1"),
        Quirks {
            effort: Effort::Ignored,
            ..LOCAL
        },
    ),
    local(
        "lmstudio",
        Some("http://localhost:1234/v1"),
        Quirks {
            parallel: false,
            ..LOCAL
        },
    ),
    local(
        "vllm",
        Some("http://localhost:8000/v1"),
        Quirks {
            choice: ChoiceStyle::Full,
            ..LOCAL
        },
    ),
    local(
        "sglang",
        Some("http://localhost:30000/v1"),
        Quirks {
            choice: ChoiceStyle::Full,
            ..LOCAL
        },
    ),
    vendor(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        Quirks {
            replay: Replay::Details,
            effort: Effort::Object,
            extras: &["user", "verbosity"],
            ..GENERIC
        },
    ),
    vendor(
        "groq",
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        Quirks {
            completion_limit: true,
            format_beside_tools: false,
            logprobs: false,
            extras: &["user", "service_tier"],
            ..GENERIC
        },
    ),
    vendor(
        "mistral-ai",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        Quirks {
            include_usage: false,
            system_first: true,
            choice: ChoiceStyle::Any,
            short_ids: true,
            filler_after_tool: true,
            logprobs: false,
            extras: &["prompt_cache_key"],
            ..GENERIC
        },
    ),
    vendor(
        "deepseek",
        "https://api.deepseek.com",
        "DEEPSEEK_API_KEY",
        Quirks {
            parallel: false,
            images: false,
            replay: Replay::Content(""),
            json_schema: false,
            ..GENERIC
        },
    ),
    vendor(
        "together-ai",
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
        Quirks {
            parallel: false,
            ..GENERIC
        },
    ),
    vendor(
        "fireworks-ai",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        Quirks {
            choice: ChoiceStyle::Any,
            parallel: false,
            extras: &["user"],
            ..GENERIC
        },
    ),
    vendor(
        "x-ai",
        "https://api.x.ai/v1",
        "XAI_API_KEY",
        Quirks {
            completion_limit: true,
            extras: &["user"],
            ..GENERIC
        },
    ),
    vendor(
        "perplexity-ai",
        "https://api.perplexity.ai",
        "PERPLEXITY_API_KEY",
        Quirks {
            include_usage: false,
            system_first: true,
            tools: false,
            parallel: false,
            logprobs: false,
            ..GENERIC
        },
    ),
    vendor(
        "cohere",
        "https://api.cohere.ai/compatibility/v1",
        "COHERE_API_KEY",
        Quirks {
            include_usage: false,
            parallel: false,
            ..GENERIC
        },
    ),
    vendor(
        "cerebras",
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
        Quirks {
            completion_limit: true,
            strict: true,
            format_beside_tools: false,
            ..GENERIC
        },
    ),
    vendor(
        "sambanova",
        "https://api.sambanova.ai/v1",
        "SAMBANOVA_API_KEY",
        Quirks {
            images: false,
            ..GENERIC
        },
    ),
    vendor(
        "nvidia",
        "https://integrate.api.nvidia.com/v1",
        "NVIDIA_API_KEY",
        GENERIC,
    ),
    vendor(
        "moonshot",
        "https://api.moonshot.ai/v1",
        "MOONSHOT_API_KEY",
        Quirks {
            choice: ChoiceStyle::AutoOnly,
            parallel: false,
            replay: Replay::Content(" "),
            effort: Effort::Thinking,
            ..GENERIC
        },
    ),
    vendor("z-ai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY", ZHIPU),
    vendor(
        "zhipu",
        "https://open.bigmodel.cn/api/paas/v4",
        "ZHIPUAI_API_KEY",
        ZHIPU,
    ),
    vendor(
        "dashscope",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        Quirks {
            effort: Effort::Enable,
            ..GENERIC
        },
    ),
    vendor(
        "minimax",
        "https://api.minimax.io/v1",
        "MINIMAX_API_KEY",
        Quirks {
            choice: ChoiceStyle::AutoOnly,
            parallel: false,
            replay: Replay::Details,
            effort: Effort::Ignored,
            ..GENERIC
        },
    ),
    vendor(
        "deepinfra",
        "https://api.deepinfra.com/v1/openai",
        "DEEPINFRA_API_KEY",
        Quirks {
            choice: ChoiceStyle::AutoOnly,
            parallel: false,
            ..GENERIC
        },
    ),
    vendor(
        "hyperbolic",
        "https://api.hyperbolic.xyz/v1",
        "HYPERBOLIC_API_KEY",
        Quirks {
            include_usage: false,
            parallel: false,
            ..GENERIC
        },
    ),
    vendor(
        "novita-ai",
        "https://api.novita.ai/openai/v1",
        "NOVITA_API_KEY",
        GENERIC,
    ),
    vendor(
        "siliconflow",
        "https://api.siliconflow.com/v1",
        "SILICONFLOW_API_KEY",
        Quirks {
            effort: Effort::Enable,
            parallel: false,
            ..GENERIC
        },
    ),
    vendor(
        "huggingface",
        "https://router.huggingface.co/v1",
        "HF_TOKEN",
        GENERIC,
    ),
    // No variable: a GitHub token in the environment is there for other things.
    Row {
        env_key: None,
        ..vendor(
            "github",
            "https://models.github.ai/inference",
            "",
            Quirks {
                parallel: false,
                ..GENERIC
            },
        )
    },
    vendor(
        "nebius",
        "https://api.studio.nebius.com/v1",
        "NEBIUS_API_KEY",
        GENERIC,
    ),
    vendor(
        "ovhcloud",
        "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
        "OVHCLOUD_API_KEY",
        GENERIC,
    ),
    vendor(
        "ai21",
        "https://api.ai21.com/studio/v1",
        "AI21_API_KEY",
        Quirks {
            include_usage: false,
            parallel: false,
            json_schema: false,
            ..GENERIC
        },
    ),
    vendor(
        "crusoe",
        "https://api.inference.crusoecloud.com/v1",
        "CRUSOE_API_KEY",
        GENERIC,
    ),
    vendor(
        "baseten",
        "https://inference.baseten.co/v1",
        "BASETEN_API_KEY",
        GENERIC,
    ),
    vendor(
        "scaleway",
        "https://api.scaleway.ai/v1",
        "SCALEWAY_API_KEY",
        GENERIC,
    ),
    vendor(
        "venice",
        "https://api.venice.ai/api/v1",
        "VENICE_API_KEY",
        GENERIC,
    ),
    vendor(
        "chutes",
        "https://llm.chutes.ai/v1",
        "CHUTES_API_KEY",
        GENERIC,
    ),
    vendor(
        "vercel",
        "https://ai-gateway.vercel.sh/v1",
        "AI_GATEWAY_API_KEY",
        Quirks {
            replay: Replay::Details,
            effort: Effort::Object,
            ..GENERIC
        },
    ),
];

const ZHIPU: Quirks = Quirks {
    choice: ChoiceStyle::AutoOnly,
    parallel: false,
    replay: Replay::Content(""),
    effort: Effort::Thinking,
    json_schema: false,
    logprobs: false,
    ..GENERIC
};

/// Other spellings of the names.
pub(crate) static ALIASES: &[(&str, &str)] = &[
    ("llamacpp", "llama-cpp"),
    ("llama.cpp", "llama-cpp"),
    ("lm-studio", "lmstudio"),
    ("mistral", "mistral-ai"),
    ("together", "together-ai"),
    ("fireworks", "fireworks-ai"),
    ("xai", "x-ai"),
    ("perplexity", "perplexity-ai"),
    ("azure", "azure-openai"),
];
