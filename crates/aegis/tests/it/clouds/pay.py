"""stripe-python through a route: a payment, one that is too large, and a capture, whose amount the request doesn't say."""

import json
import sys

import stripe

stripe.api_base, stripe.api_key = sys.argv[1:3]
stripe.max_network_retries = 0


def said(do):
    try:
        return {"ok": do()["id"]}
    except stripe.StripeError as error:
        return {"refused": str(error), "kind": type(error).__name__, "status": error.http_status}


def pay(amount, currency="usd"):
    return stripe.PaymentIntent.create(
        amount=amount, currency=currency, payment_method_types=["card"], metadata={"env": "prod"}, idempotency_key=f"once-{amount}"
    )


for do in [
    lambda: pay(4200),
    lambda: pay(20000),
    lambda: pay(9000, "jpy"),
    lambda: stripe.PaymentIntent.capture("pi_1", amount_to_capture=1),
]:
    print(json.dumps(said(do)))
