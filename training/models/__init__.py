"""Models as parameters and formulas: they answer, and learn nothing but what maximum likelihood finds.

Order timing is in `bg_nbd`, `mbg_nbd` and `pareto_nbd`, order value in `gamma_gamma`, both together in
`purchase_process`; `estimators` fits them in a notebook, from a frame of orders to the value of each customer:

    from training.models.estimators import LifetimeValue, OrderValue, PurchaseTiming, summarise_orders

Nothing is imported here, so that a service which loads one model loads no other, and no scikit-learn.
"""
