"""Engagement: what a customer did besides ordering, and what was done to win them, each told by one declaration.

A shop that records a type of event has its features; a customer without such an event counts 0 there.
"""

from features.catalogue import Count, Feature, How, exact, only_if, ratio, within
from features.expressions import Expr, Float64, col

_AGE = col("age_days")
_VALUE = col("value_micros")

# The last answer is found by one maximum, exact in 64 bits: the younger the day, the greater the code; then the answer.
_MAX_AGE = 2**16  # days; dates lie within 1970 to 2099
_MAX_ANSWER = 10**12  # micros; an answer beyond a million is no answer
_ANSWERS = 2**41  # more than there are answers from -_MAX_ANSWER to _MAX_ANSWER


def _needs(*event_types: str) -> tuple[str, ...]:
    return tuple(f"event:{event_type}" for event_type in event_types)


def _count(name: str, event_type: str, row: Expr | int, *, given: Expr | None = None, how: How = "sum") -> Count:
    """Declare a count over the events of one type, or over those of them for which a condition holds."""
    is_type = col("event_type") == event_type
    condition = is_type if given is None else is_type & given
    return Count(name, only_if(condition, row), how, log="events", needs=_needs(event_type))


def _within(event_type: str, days: int) -> Count:
    return _count(f"n_{event_type}_within_{days}", event_type, 1, given=within(days))


def _last(event_type: str) -> Count:
    return _count(f"last_{event_type}_age_days", event_type, _AGE, how="min")


_IS_ANSWER = (_VALUE >= -_MAX_ANSWER) & (_VALUE <= _MAX_ANSWER)
_ANSWER_CODE = (_MAX_AGE - _AGE) * _ANSWERS + _MAX_ANSWER + _VALUE
_LAST_ANSWER = (col("last_survey_code") % _ANSWERS - _MAX_ANSWER).cast(Float64)
_IS_RATED = ~_VALUE.is_null()

COUNTS = (
    _within("visit", 30),
    _within("visit", 90),
    _count("n_visit_previous_30", "visit", 1, given=(_AGE > 30) & within(60)),
    _last("visit"),
    _within("cart", 30),
    _last("cart"),
    _within("form", 90),
    _count("first_registration_age_days", "registration", _AGE, how="max"),
    _within("email_sent", 90),
    _within("email_open", 90),
    _within("email_click", 90),
    _last("email_open"),
    _count("n_unsubscribe", "unsubscribe", 1),
    _within("campaign_sent", 180),
    _within("campaign_sent", 365),
    _within("coupon_redeemed", 365),
    _last("coupon_redeemed"),
    _within("ticket", 90),
    _within("ticket", 365),
    _last("ticket"),
    _count("last_survey_code", "survey", _ANSWER_CODE, given=_IS_ANSWER, how="max"),
    _count("n_review", "review", 1),
    _count("n_rated", "review", 1, given=_IS_RATED),
    _count("rating_micros", "review", _VALUE, given=_IS_RATED),
    _count("n_referral", "referral", 1),
    _count("marketing_micros_within_365", "marketing_cost", _VALUE, given=within(365)),
)


def _feature(name: str, unit: str, meaning: str, value: Expr, *types: str, null_rule: str = "") -> Feature:
    return Feature(name, "events", unit, meaning, value, null_rule, _needs(*types))


def _sent_ratio(event_type: str) -> Expr:
    return ratio(exact(f"n_{event_type}_within_90"), exact("n_email_sent_within_90"))


_INTEREST = (
    _feature("visits_within_30", "events", "visits in the last 30 days", exact("n_visit_within_30"), "visit"),
    _feature("visits_within_90", "events", "visits in the last 90 days", exact("n_visit_within_90"), "visit"),
    _feature("visits_trend_30", "events", "visits of the last 30 days minus those of the 30 before",
             exact("n_visit_within_30") - exact("n_visit_previous_30"), "visit"),
    _feature("days_since_last_visit", "days", "since the last visit", exact("last_visit_age_days"), "visit",
             null_rule="no visit"),
    _feature("carts_within_30", "events", "carts and checkouts begun in the last 30 days",
             exact("n_cart_within_30"), "cart"),
    _feature("days_since_last_cart", "days", "since a cart or checkout was last begun", exact("last_cart_age_days"),
             "cart", null_rule="no cart"),
    _feature("forms_within_90", "events", "forms sent in the last 90 days", exact("n_form_within_90"), "form"),
    _feature("days_since_registration", "days", "since the first registration", exact("first_registration_age_days"),
             "registration", null_rule="no registration"),
)  # fmt: skip

_MARKETING = (
    _feature("emails_sent_within_90", "events", "e-mails sent to the customer in the last 90 days",
             exact("n_email_sent_within_90"), "email_sent"),
    _feature("email_open_rate_90", "ratio", "e-mail openings ÷ e-mails sent, in the last 90 days",
             _sent_ratio("email_open"), "email_open", "email_sent", null_rule="no e-mail sent in 90 days"),
    _feature("email_click_rate_90", "ratio", "clicks in e-mails ÷ e-mails sent, in the last 90 days",
             _sent_ratio("email_click"), "email_click", "email_sent", null_rule="no e-mail sent in 90 days"),
    _feature("days_since_last_email_open", "days", "since an e-mail was last opened",
             exact("last_email_open_age_days"), "email_open", null_rule="no e-mail opened"),
    _feature("unsubscribes", "events", "times the customer asked for no more e-mails", exact("n_unsubscribe"),
             "unsubscribe"),
    _feature("campaigns_within_180", "events", "campaigns sent to the customer in the last 180 days",
             exact("n_campaign_sent_within_180"), "campaign_sent"),
    _feature("coupons_within_365", "events", "coupons redeemed in the last 365 days",
             exact("n_coupon_redeemed_within_365"), "coupon_redeemed"),
    _feature("coupons_per_campaign_365", "ratio", "coupons redeemed ÷ campaigns sent, in the last 365 days",
             ratio(exact("n_coupon_redeemed_within_365"), exact("n_campaign_sent_within_365")),
             "coupon_redeemed", "campaign_sent", null_rule="no campaign sent in 365 days"),
    _feature("days_since_last_coupon", "days", "since a coupon was last redeemed",
             exact("last_coupon_redeemed_age_days"), "coupon_redeemed", null_rule="no coupon redeemed"),
    _feature("marketing_cost_within_365", "currency", "spent on the customer by name in the last 365 days",
             exact("marketing_micros_within_365"), "marketing_cost"),
)  # fmt: skip

_VOICE = (
    _feature("tickets_within_90", "events", "support tickets in the last 90 days",
             exact("n_ticket_within_90"), "ticket"),
    _feature("tickets_within_365", "events", "support tickets in the last 365 days",
             exact("n_ticket_within_365"), "ticket"),
    _feature("days_since_last_ticket", "days", "since the last support ticket", exact("last_ticket_age_days"),
             "ticket", null_rule="no ticket"),
    _feature("last_survey_answer", "points", "answer to the last survey; the highest of that day", _LAST_ANSWER,
             "survey", null_rule="no survey answered"),
    _feature("reviews", "events", "reviews so far", exact("n_review"), "review"),
    _feature("mean_review_rating", "points", "mean rating of all reviews that give one",
             ratio(exact("rating_micros"), exact("n_rated")), "review", null_rule="no review with a rating"),
    _feature("referrals", "events", "referrals so far", exact("n_referral"), "referral"),
)  # fmt: skip

FEATURES = (*_INTEREST, *_MARKETING, *_VOICE)
